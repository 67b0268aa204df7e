// What changed: the report in words first, then a small chart, then the table. Small groups are hidden by the server.
import { useState } from 'preact/hooks';
import type { Programme, Report, ReportGroup, Translated } from '../../client/api';
import { call, list } from '../../store/app';
import { number, say, t } from '../../store/texts';
import { Empty, Loaded, Title, useLoad } from '../kit';

function group_title(g: ReportGroup): string {
  return say(g.title) || (g.name === 'mentees' ? t('group-mentees') : g.name === 'comparison' ? t('group-comparison') : g.name);
}

/** Mean change of each group as a dot with its interval, zero marked. Readable without colour; the table says the same. */
function Chart({ groups }: { groups: ReportGroup[] }) {
  const shown = groups.filter((g) => g.change);
  if (shown.length === 0) return null;
  const low = Math.min(0, ...shown.map((g) => g.change!.low));
  const high = Math.max(0, ...shown.map((g) => g.change!.high));
  const pad = (high - low || 1) * 0.1;
  const x = (v: number): number => 8 + ((v - low + pad) / (high - low + 2 * pad)) * 304;
  return (
    <figure class="chart">
      <svg viewBox={`0 0 320 ${shown.length * 56 + 28}`} role="img" aria-label={t('chart-change')}>
        <line x1={x(0)} x2={x(0)} y1="4" y2={shown.length * 56 + 8} class="zero" />
        <text x={x(0)} y={shown.length * 56 + 22} class="tick">
          0
        </text>
        {shown.map((g, i) => {
          const y = i * 56 + 36;
          const c = g.change!;
          return (
            <g key={g.name} class={i ? 'series-b' : 'series-a'}>
              <text x="8" y={y - 14} class="label">
                {group_title(g)}
              </text>
              <line x1={x(c.low)} x2={x(c.high)} y1={y} y2={y} class="interval" />
              <line x1={x(c.low)} x2={x(c.low)} y1={y - 5} y2={y + 5} class="interval" />
              <line x1={x(c.high)} x2={x(c.high)} y1={y - 5} y2={y + 5} class="interval" />
              {i ? <rect x={x(c.mean) - 5} y={y - 5} width="10" height="10" class="mark" /> : <circle cx={x(c.mean)} cy={y} r="6" class="mark" />}
            </g>
          );
        })}
      </svg>
      <figcaption>{t('chart-caption')}</figcaption>
    </figure>
  );
}

function Shown({ report }: { report: Report }) {
  return (
    <>
      <div class="words">
        {report.sentences.map((s, i) => (
          <p key={i} class={s.key === 'report.regression_to_mean' ? 'warning' : ''}>
            {say(s.text)}
          </p>
        ))}
        {report.hidden && <p class="warning">{say(report.hidden.text) || t('report-hidden')}</p>}
      </div>
      <Chart groups={report.groups} />
      <div class="wide-table" tabIndex={0} role="region" aria-label={t('report-table')}>
        <table class="table">
          <thead>
            <tr>
              <th scope="col">{t('group')}</th>
              <th scope="col">{t('n')}</th>
              <th scope="col">{t('before')}</th>
              <th scope="col">{t('after')}</th>
              <th scope="col">{t('change')}</th>
              <th scope="col">{t('interval')}</th>
              <th scope="col">d</th>
            </tr>
          </thead>
          <tbody>
            {report.groups.map((g) => (
              <tr key={g.name}>
                <th scope="row">{group_title(g)}</th>
                <td>{g.n}</td>
                {g.before && g.after && g.change ? (
                  <>
                    <td>
                      {number(g.before.mean, 2)} <small>± {number(g.before.sd, 2)}</small>
                    </td>
                    <td>
                      {number(g.after.mean, 2)} <small>± {number(g.after.sd, 2)}</small>
                    </td>
                    <td>{number(g.change.mean, 2)}</td>
                    <td>{t('from-to', { low: number(g.change.low, 2), high: number(g.change.high, 2) })}</td>
                    <td>{g.d_av !== undefined ? number(g.d_av, 2) : '–'}</td>
                  </>
                ) : (
                  <td colSpan={5}>{t('report-hidden')}</td>
                )}
              </tr>
            ))}
            {report.difference && (
              <tr>
                <th scope="row">{t('difference')}</th>
                <td colSpan={3} />
                <td>{number(report.difference.mean, 2)}</td>
                <td>{t('from-to', { low: number(report.difference.low, 2), high: number(report.difference.high, 2) })}</td>
                <td>{report.difference.g !== undefined ? number(report.difference.g, 2) : '–'}</td>
              </tr>
            )}
          </tbody>
        </table>
      </div>
    </>
  );
}

interface Offer {
  id: string;
  title: Translated;
  measures?: (string | { id?: string; name?: string; title?: Translated })[];
}

export function Changes() {
  const base = useLoad(async () => {
    const [reports, programmes] = await Promise.all([call<{ items: Offer[] }>('report.list'), list<Programme>('programme', { order: 'desc', limit: 50 })]);
    return { reports: reports.items, programmes: programmes.items };
  }, []);
  const [measure, set_measure] = useState('grade');
  const [programme, set_programme] = useState<string | null>(null);
  const chosen = programme ?? base.value?.programmes[0]?.id ?? '';
  const report = useLoad(
    async () => (base.value ? call<Report>('report.run', { report: 'before-after', params: { measure, ...(chosen ? { programme: chosen } : {}) } }) : undefined),
    [measure, chosen, !!base.value],
  );
  return (
    <>
      <Title note={t('changes-note')}>{t('nav-changes')}</Title>
      <Loaded of={base}>
        {({ programmes }) => (
          <div class="pairs">
            <label class="field">
              <span>{t('measure')}</span>
              <select value={measure} onChange={(e) => set_measure(e.currentTarget.value)}>
                <option value="grade">{t('measure-grade')}</option>
                {['study', 'change', 'people', 'strain'].map((scale) => (
                  <option key={scale} value={`adaptation.${scale}`}>
                    {t(`scale-${scale}`)}
                  </option>
                ))}
              </select>
            </label>
            {programmes.length > 0 && (
              <label class="field">
                <span>{t('programme')}</span>
                <select value={chosen} onChange={(e) => set_programme(e.currentTarget.value)}>
                  {programmes.map((p) => (
                    <option key={p.id} value={p.id}>
                      {say(p.data.title)}
                    </option>
                  ))}
                </select>
              </label>
            )}
          </div>
        )}
      </Loaded>
      {base.value && (
        <Loaded of={report} rows={4}>
          {(value) => (value.groups.every((g) => g.n === 0) ? <Empty title={t('report-empty')}>{<p>{t('report-empty-hint')}</p>}</Empty> : <Shown report={value} />)}
        </Loaded>
      )}
    </>
  );
}
