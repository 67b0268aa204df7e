// One plugin: what is in force, what of it is being written here, and the desk to write at.
import { RpcError } from '../../client/rpc';
import { call } from '../../store/app';
import { to } from '../../store/route';
import { say, t } from '../../store/texts';
import { Empty, Icon, Loaded, Title, useLoad } from '../kit';
import { in_force } from './deploy';
import { Desk } from './desk';
import { draft_of } from './drafts';
import type { Api } from './complete';
import { own_layer, Problems } from './list';
import { can, look_up_methods, takes } from './methods';
import { Returned } from './returned';
import type { Kind, Layer, PluginList, PluginRow, Source } from './types';

/** Which layers have it: shipped below the cluster's below the institution's. */
async function layers_of(kind: Kind, id: string, row: PluginRow | undefined): Promise<Layer[]> {
  const own = own_layer();
  if (!row) return [];
  if (!takes('plugin.get', 'layer')) return row.overrides ? ['shipped', row.layer] : [row.layer];
  const below: Layer[] = own === 'cluster' ? ['shipped'] : ['shipped', 'cluster'];
  const there = await Promise.all(
    below.map((layer) =>
      call('plugin.get', { kind, id, layer }).then(
        () => [layer],
        (error: unknown) => {
          if (error instanceof RpcError && error.code === -32003) return [];
          throw error;
        },
      ),
    ),
  );
  return [...there.flat(), ...(row.active || row.layer === own ? [own] : [])];
}

export function One({ kind, id }: { kind: Kind; id: string }) {
  const loaded = useLoad(async () => {
    await look_up_methods();
    const [list, now, draft, api] = await Promise.all([
      call<PluginList>('plugin.list'),
      in_force(kind, id),
      draft_of(kind, id),
      can('plugin.api') ? call<Api>('plugin.api').catch(() => null) : null,
    ]);
    const row = list.items.find((r) => r.kind === kind && r.id === id);
    return { row, ...now, draft, api, layers: await layers_of(kind, id, row) };
  }, [kind, id]);
  const title = say(loaded.value?.row?.title) || id;
  return (
    <div class="plugin-page">
      <p class="back">
        <a href={to('admin', 'plugins')}>{t('plugins-all')}</a>
      </p>
      <Title
        note={
          <>
            {t(`kind-${kind}`)} · <code>{id}</code>
          </>
        }
      >
        {title}
      </Title>
      <Returned />
      <Loaded of={loaded} rows={5}>
        {({ row, got, version, draft, api, layers }) => (
          <>
            {row?.state === 'broken' && (
              <section class="card refused" aria-labelledby="broken">
                <h2 id="broken">
                  <Icon name="warn" /> {t('plugin-broken')}
                </h2>
                <Problems items={row.errors ?? []} id={id} />
              </section>
            )}
            {row?.state === 'failing' && (
              <p class="warning">
                <Icon name="warn" /> {t('plugin-failing-here')}
              </p>
            )}
            {got || draft ? (
              <Desk kind={kind} id={id} row={row} got={got as Source | null} version={version} draft={draft} api={api} layers={layers} again={loaded.again} />
            ) : (
              <Empty title={t('plugin-none')}>
                <p>{t('plugin-none-hint')}</p>
              </Empty>
            )}
          </>
        )}
      </Loaded>
    </div>
  );
}
