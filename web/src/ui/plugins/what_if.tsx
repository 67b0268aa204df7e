// What a matching rule, as it stands in the editor, would change for the people of a programme: who gets another mentor, who gains, who
// loses, who is left without one. Nothing is written.
import { useState } from 'preact/hooks';
import type { Job, Person, Programme, Reason } from '../../client/api';
import { call, list, list_all, records, watch } from '../../store/app';
import { number, say, t } from '../../store/texts';
import { Act, Empty, Loaded, useLoad } from '../kit';
import { trouble_of, type Trouble, TroubleView } from './try';
import type { ChangedPair, Kind, WhatIf } from './types';

const PATIENCE = 300_000;

const size = (value: number | unknown[] | undefined): number => (Array.isArray(value) ? value.length : (value ?? 0));
function why(row: ChangedPair): string {
  const given = row.why ?? row.reasons;
  if (Array.isArray(given)) return (given as Reason[]).map((r) => say(r.text) || r.name || '').filter(Boolean).join('; ');
  return say(given);
}

function Result({ result }: { result: WhatIf }) {
  const people = records<Person>('person');
  const name = (id: string | null | undefined, given?: string): string => given ?? (id ? people.get(id)?.data.name ?? id : t('what-if-nobody'));
  const difference = (r: ChangedPair): number => (r.to_points ?? 0) - (r.from_points ?? 0);
  const changed = [...result.changed].sort((a, b) => difference(a) - difference(b));
  const left = Array.isArray(result.unmatched) ? result.unmatched : [];
  return (
    <>
      <div role="status">
      <dl class="effect">
        <div>
          <dt>{t('what-if-changed')}</dt>
          <dd>{number(changed.length)}</dd>
        </div>
        <div>
          <dt>{t('what-if-gained')}</dt>
          <dd>{number(size(result.gained))}</dd>
        </div>
        <div>
          <dt>{t('what-if-lost')}</dt>
          <dd>{number(size(result.lost))}</dd>
        </div>
        <div>
          <dt>{t('what-if-unmatched')}</dt>
          <dd>{number(size(result.unmatched))}</dd>
        </div>
      </dl>
      </div>
      {changed.length === 0 ? (
        <Empty title={t('what-if-same')} />
      ) : (
        <div class="scroll" role="region" aria-label={t('what-if-table')} tabIndex={0}>
          <table class="table changed">
            <thead>
              <tr>
                <th scope="col">{t('what-if-mentee')}</th>
                <th scope="col">{t('what-if-from')}</th>
                <th scope="col">{t('what-if-to')}</th>
                <th scope="col">{t('what-if-points')}</th>
              </tr>
            </thead>
            <tbody>
              {changed.map((r) => (
                <tr key={r.mentee}>
                  <th scope="row">{name(r.mentee, r.mentee_name)}</th>
                  <td>{name(r.from, r.from_name)}</td>
                  <td>
                    {name(r.to, r.to_name)}
                    {why(r) && <small class="why">{why(r)}</small>}
                  </td>
                  <td class={difference(r) < 0 ? 'worse' : 'better'}>
                    <b>
                      {difference(r) > 0 ? '+' : difference(r) < 0 ? '−' : ''}
                      {number(Math.abs(difference(r)), 0)}
                    </b>
                    <small>
                      {r.from_points === null || r.from_points === undefined ? '–' : number(r.from_points, 0)} → {r.to_points === null || r.to_points === undefined ? '–' : number(r.to_points, 0)}
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
          <summary>{t('what-if-unmatched-who', { count: left.length })}</summary>
          <ul>
            {left.map((u, i) => (
              <li key={i}>
                {typeof u === 'string' ? name(u) : name(u.mentee, u.name ?? u.mentee_name)}
                {typeof u !== 'string' && u.why && <small> · {say(u.why.text) || u.why.key}</small>}
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
    // Names of mentors; with many people the first thousands do, and others are shown by what the server says.
    const [page] = await Promise.all([list<Programme>('programme', { limit: 50, order: 'desc' }), list_all<Person>('person', { index: 'by_name' })]);
    return page.items;
  }, []);
  const [chosen, set_chosen] = useState('');
  const [result, set_result] = useState<WhatIf | null>(null);
  const [trouble, set_trouble] = useState<Trouble | null>(null);
  const [job, set_job] = useState<Job | null>(null);
  return (
    <Loaded of={programmes} rows={2}>
      {(items) => {
        const programme = chosen || items[0]?.id || '';
        const run = async (): Promise<void> => {
          set_trouble(null);
          try {
            const answer = await call<{ job?: string } & Partial<WhatIf> & { result?: WhatIf }>('plugin.try', { kind, id, source: source(), programme }, PATIENCE);
            const done = answer.job ? await watch<WhatIf & { result?: WhatIf }>(answer.job, set_job) : answer;
            set_result((done.changed ? done : done.result) as WhatIf);
          } catch (error) {
            set_result(null);
            set_trouble(trouble_of(error));
          } finally {
            set_job(null);
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
            {job && <progress value={job.progress ?? 0} max={1} aria-label={t('loading')} />}
            <TroubleView trouble={trouble} id={id} go={go} />
            {result && <Result result={result} />}
          </>
        );
      }}
    </Loaded>
  );
}
