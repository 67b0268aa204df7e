// What a matching rule, as it stands in the editor, would change for the people of a programme: who gets another mentor, who gains, who
// loses, who is left without one. Nothing is written.
import { useState } from 'preact/hooks';
import type { Person, Programme, Reason } from '../../client/api';
import { call, list, records, watch } from '../../store/app';
import { number, say, t } from '../../store/texts';
import { Act, Empty, Loaded, useLoad } from '../kit';
import { changes } from './lists';
import { trouble_of, type Trouble, TroubleView } from './try';
import type { Kind, WhatIf } from './types';

const PATIENCE = 300_000;

function why(reasons: Reason[] | undefined): string {
  return (reasons ?? []).map((r) => say(r.text)).filter(Boolean).slice(0, 3).join('; ');
}
const points = (value: number | null | undefined): string => (value === null || value === undefined ? '–' : number(value, 0));

function Result({ result }: { result: WhatIf }) {
  const people = records<Person>('person');
  const name = (id: string | null | undefined, given?: string): string => given || (id ? people.get(id)?.data.name ?? id : t('what-if-nobody'));
  const counts = result.counts ?? { changed: result.changed.length, gained: result.gained?.length ?? 0, lost: result.lost?.length ?? 0, unmatched: result.unmatched?.length ?? 0 };
  const all = changes(result);
  const left = result.unmatched ?? [];
  const { before, after } = result;
  return (
    <>
      <div role="status">
        <dl class="effect">
          {(['changed', 'gained', 'lost', 'unmatched'] as const).map((key) => (
            <div key={key}>
              <dt>{t(`what-if-${key}`)}</dt>
              <dd>{number(counts[key], 0)}</dd>
            </div>
          ))}
          {before?.median !== undefined && after?.median !== undefined && (
            <div>
              <dt>{t('what-if-median')}</dt>
              <dd>
                {number(before.median, 0)} → {number(after.median, 0)}
              </dd>
            </div>
          )}
          {before?.worst !== undefined && after?.worst !== undefined && (
            <div>
              <dt>{t('what-if-worst')}</dt>
              <dd>
                {number(before.worst, 0)} → {number(after.worst, 0)}
              </dd>
            </div>
          )}
        </dl>
        {before?.source && <p class="note">{t(`what-if-source-${before.source}`)}</p>}
      </div>
      {all.length === 0 ? (
        <Empty title={t('what-if-same')} />
      ) : (
        <div class="changed-all">
          {/* In a narrow place a row is drawn as a block, which would take its role: so the roles are said. */}
          <table class="table changed" role="table" aria-label={t('what-if-table')}>
            <thead role="rowgroup">
              <tr role="row">
                {(['mentee', 'from', 'to', 'points'] as const).map((column) => (
                  <th key={column} role="columnheader" scope="col">
                    {t(`what-if-${column}`)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody role="rowgroup">
              {all.map(({ pair: r, change }) => (
                <tr key={r.mentee} role="row">
                  <th role="rowheader" scope="row">{name(r.mentee, r.mentee_name)}</th>
                  <td role="cell" class="from">
                    {name(r.from, r.from_name)}
                    {r.from_why ? (
                      <small class="why">{t('what-if-not-now', { why: say(r.from_why.text) || (r.from_why.key ?? '') })}</small>
                    ) : (
                      r.from_points_now !== undefined && r.from_points_now !== null && <small class="why">{t('what-if-by-this', { points: number(r.from_points_now, 0) })}</small>
                    )}
                  </td>
                  <td role="cell" class="to">
                    {name(r.to, r.to_name)}
                    <small class="why">{why(r.reasons) || say(r.why?.text)}</small>
                  </td>
                  <td role="cell" class={change < 0 ? 'points worse' : 'points better'}>
                    <b>
                      {change > 0 ? '+' : change < 0 ? '−' : ''}
                      {number(Math.abs(change), 0)}
                    </b>
                    <small>
                      {points(r.from_points)} → {points(r.to_points)}
                    </small>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {left.length > 0 && (
        <details>
          <summary>{t('what-if-unmatched-who', { count: counts.unmatched })}</summary>
          <ul>
            {left.map((u, i) => (
              <li key={i}>
                {name(u.mentee, u.name)}
                {u.why && <small> · {say(u.why.text) || u.why.key}</small>}
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

export function WhatIfPanel({ kind, id, source, go }: { kind: Kind; id: string; source: () => string; go: (line: number) => void }) {
  const programmes = useLoad(async () => {
    const page = await list<Programme>('programme', { limit: 50, order: 'desc' });
    return page.items;
  }, []);
  const [chosen, set_chosen] = useState('');
  const [result, set_result] = useState<WhatIf | null>(null);
  const [trouble, set_trouble] = useState<Trouble | null>(null);
  return (
    <Loaded of={programmes} rows={2}>
      {(items) => {
        const programme = chosen || items[0]?.id || '';
        const run = async (): Promise<void> => {
          set_trouble(null);
          try {
            const answer = await call<{ job?: string } & Partial<WhatIf> & { result?: WhatIf }>('plugin.try', { kind, id, source: source(), programme }, PATIENCE);
            const done = answer.job ? await watch<WhatIf & { result?: WhatIf }>(answer.job, () => undefined) : answer;
            set_result((done.changed ? done : done.result) as WhatIf);
          } catch (error) {
            set_result(null);
            set_trouble(trouble_of(error));
          }
        };
        if (!items.length)
          return (
            <Empty title={t('what-if-no-programme')}>
              <p>{t('what-if-no-programme-hint')}</p>
            </Empty>
          );
        return (
          <>
            <p class="note">{t('what-if-note')}</p>
            <label class="field">
              <span>{t('what-if-programme')}</span>
              <select value={programme} onChange={(e) => (set_chosen(e.currentTarget.value), set_result(null))}>
                {items.map((p) => (
                  <option key={p.id} value={p.id}>
                    {say(p.data.title)}
                  </option>
                ))}
              </select>
            </label>
            <div class="foot">
              <Act class="primary" do={run}>
                {t('what-if-run')}
              </Act>
            </div>
            <TroubleView trouble={trouble} id={id} go={go} />
            {result && <Result result={result} />}
          </>
        );
      }}
    </Loaded>
  );
}
