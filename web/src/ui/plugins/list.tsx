// All plugins by kind: which layer each comes from, what overrides what, what was refused; a search; a new one from a template.
import { useEffect, useState } from 'preact/hooks';
import { call, on_event, session } from '../../store/app';
import { to } from '../../store/route';
import { fold, say, t } from '../../store/texts';
import { Tabs } from '../admin/tabs';
import { Empty, Icon, Loaded, Title, useLoad } from '../kit';
import { drafts, type Draft } from './drafts';
import { New } from './new';
import { Returned } from './returned';
import { kinds } from './templates';
import type { Layer, PluginList, PluginRow, Problem } from './types';

export const own_layer = (): Layer => (session.value?.institution === 'cluster' ? 'cluster' : 'institution');

export function LayerMark({ layer, overrides }: { layer: Layer; overrides?: boolean | undefined }) {
  return <span class={`layer ${layer}`}>{overrides ? t('plugin-overrides', { layer: t(`layer-mark-${layer}`) }) : t(`layer-mark-${layer}`)}</span>;
}

/** Errors as a list: what, and where when it is known. */
export function Problems({ items, go, id }: { items: Problem[]; go?: (line: number) => void; id?: string }) {
  return (
    <ul class="plain-list problems">
      {items.map((p, i) => {
        const elsewhere = id && p.plugin && p.plugin !== id && !p.plugin.endsWith(`/${id}`);
        const words = [p.path && !p.message.startsWith(p.path) ? `${p.path}: ` : '', p.message].join('');
        return (
          <li key={i}>
            {p.line && go && !elsewhere ? (
              <button type="button" class="plain at" onClick={() => go(p.line!)}>
                {t('plugin-line', { line: p.line })}
              </button>
            ) : (
              (elsewhere || !id) && <code>{[p.file ?? p.plugin, p.line].filter(Boolean).join(':')}</code>
            )}
            <span>{words}</span>
          </li>
        );
      })}
    </ul>
  );
}

function Row({ row, draft }: { row: PluginRow; draft: boolean }) {
  return (
    <li>
      <a class="row" href={to('admin', 'plugins', row.kind, row.id)}>
        <span>
          <b>{say(row.title) || row.id}</b>
          <small>
            <code>{row.id}</code> · <code>{row.version.slice(0, 12)}</code>
          </small>
        </span>
        <span class="marks">
          {draft && <span class="state discarded">{t('plugin-draft')}</span>}
          {(row.state === 'failing' || row.state === 'broken') && <span class="state broken-mark">{t(`plugin-state-${row.state}`)}</span>}
          <LayerMark layer={row.layer} overrides={row.overrides} />
        </span>
      </a>
    </li>
  );
}

export function List() {
  const loaded = useLoad(async () => {
    const [list, mine] = await Promise.all([call<PluginList>('plugin.list'), drafts()]);
    return { ...list, mine };
  }, []);
  const [search, set_search] = useState('');
  const [making, set_making] = useState(false);
  // Somebody else deploys: the list is read again.
  useEffect(() => on_event((event) => event.type === 'plugin' && loaded.again()), []);
  const wanted = fold(search);
  const matches = (row: { id: string; title?: PluginRow['title']; kind: string; layer?: Layer }): boolean =>
    fold([row.id, say(row.title), t(`kind-${row.kind}`), row.layer ? t(`layer-mark-${row.layer}`) : ''].join(' ')).includes(wanted);
  return (
    <>
      <Title note={t('plugins-note')}>{t('plugins-title')}</Title>
      <Tabs here="plugins" />
      <Returned />
      <div class="foot find-new">
        <label class="field">
          <span>{t('plugins-search')}</span>
          <input type="search" value={search} onInput={(e) => set_search(e.currentTarget.value)} />
        </label>
        <button type="button" class="primary" onClick={() => set_making(true)}>
          {t('plugin-new')}
        </button>
      </div>
      <Loaded of={loaded} rows={6}>
        {({ items, refused, behind, mine }) => {
          const found = items.filter(matches);
          const begun = mine.filter((d: Draft) => !items.some((i) => i.kind === d.kind && i.id === d.id) && matches(d));
          return (
            <>
              <p class="note" role="status">
                {t('plugins-found', { count: found.length })}
              </p>
              {!!refused?.length && (
                <section class="card refused" aria-labelledby="refused">
                  <h2 id="refused">
                    <Icon name="warn" /> {t('plugins-refused')}
                  </h2>
                  <p class="note">{t('plugins-refused-note')}</p>
                  <Problems items={refused} />
                </section>
              )}
              {!!behind?.length && (
                <section class="card refused" aria-labelledby="behind">
                  <h2 id="behind">
                    <Icon name="warn" /> {t('plugins-behind')}
                  </h2>
                  <p class="note">{t('plugins-behind-note')}</p>
                  <Problems items={behind} />
                </section>
              )}
              {found.length + begun.length === 0 && (
                <Empty title={t('nothing-found')}>
                  <p>{t('plugins-none-hint')}</p>
                </Empty>
              )}
              {begun.length > 0 && (
                <section aria-labelledby="begun">
                  <h2 id="begun">{t('plugins-begun')}</h2>
                  <ul class="rows">
                    {begun.map((d) => (
                      <li key={d.kind + d.id}>
                        <a class="row" href={to('admin', 'plugins', d.kind, d.id)}>
                          <span>
                            <b>{d.id}</b>
                            <small>{t(`kind-${d.kind}`)}</small>
                          </span>
                          <span class="marks">
                            <span class="state discarded">{t('plugin-draft')}</span>
                          </span>
                        </a>
                      </li>
                    ))}
                  </ul>
                </section>
              )}
              {kinds.map((kind) => {
                const of_kind = found.filter((i) => i.kind === kind);
                if (!of_kind.length) return null;
                return (
                  <section key={kind} aria-labelledby={`kind-${kind}`}>
                    <h2 id={`kind-${kind}`}>{t(`kinds-${kind}`)}</h2>
                    <ul class="rows">
                      {of_kind.map((row) => (
                        <Row key={row.id} row={row} draft={mine.some((d) => d.kind === kind && d.id === row.id)} />
                      ))}
                    </ul>
                  </section>
                );
              })}
              {making && <New taken={items} close={() => set_making(false)} />}
            </>
          );
        }}
      </Loaded>
    </>
  );
}
