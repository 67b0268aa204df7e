// The match workbench: run a rule as a job, look at every pair and its reasons, change what is wrong, approve. Undo for every
// change made by hand.
import { useMemo, useState } from 'preact/hooks';
import type { Candidate, Envelope, Job, Programme, Proposal, ProposalPair, Rule } from '../../client/api';
import { attempt, call, keep_records, list, list_all, records, run_job, toast, watch, words } from '../../store/app';
import { go, route, to } from '../../store/route';
import { date, fold, number, say, t } from '../../store/texts';
import { Act, Dialog, Empty, Icon, Loaded, Title, useLoad } from '../kit';

const MOST = 10000; // points of a pair in which everything fits

function title_of(rules: Rule[], id: string): string {
  return say(rules.find((r) => r.id === id)?.title) || id;
}
function criterion(c: { name: string; title?: unknown; text?: unknown }): string {
  return say((c.title ?? c.text) as never) || c.name;
}

/** Points as a bar of named parts; the parts are also told in words, since colour alone says nothing. */
function Parts({ pair }: { pair: ProposalPair }) {
  const parts = pair.reasons.filter((r) => (r.points ?? 0) > 0);
  return (
    <svg class="parts" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      {parts.reduce<{ at: number; out: preact.JSX.Element[] }>(
        (s, r, i) => {
          const width = ((r.points ?? 0) / MOST) * 100;
          s.out.push(<rect key={i} x={s.at} width={Math.max(0, width - 0.4)} height="6" class={`part-${i % 5}`} />);
          s.at += width;
          return s;
        },
        { at: 0, out: [] },
      ).out}
    </svg>
  );
}

/** Who else could be the mentor. Also for somebody who has none (`now` absent). */
function ChangeMentor({ proposal, mentee, name, now, close, change }: { proposal: string; mentee: string; name: string; now?: string; close: () => void; change: (mentor: string | null) => Promise<void> }) {
  const found = useLoad(async () => {
    const got = await call<{ items: Candidate[] } | Candidate[]>('match.candidates', { proposal, mentee });
    return Array.isArray(got) ? got : got.items;
  }, [proposal, mentee]);
  return (
    <Dialog title={t('another-mentor', { name })} close={close}>
      <Loaded of={found}>
        {(items) => (
          <>
            {items.length === 0 && <Empty title={t('no-candidates')} />}
            {items.length > 0 && items.every((c) => c.free <= 0 || c.mentor === now) && <p class="warning">{t('all-taken')}</p>}
            <ul class="plain-list">
            {items.map((c) => (
              <li key={c.mentor} class="candidate">
                <div>
                  <b>{c.name}</b> <small>{t('points', { points: number(c.points, 0) })} · {t('places', { count: c.free })}</small>
                  <p class="note">{c.reasons.map((r) => say(r.text)).filter(Boolean).join(' ')}</p>
                </div>
                <Act disabled={c.free <= 0 || c.mentor === now} do={() => change(c.mentor).then(close)} label={t('take-name', { name: c.name })}>
                  {c.mentor === now ? t('is-now') : t('take')}
                </Act>
              </li>
            ))}
            </ul>
          </>
        )}
      </Loaded>
      {now && (
        <Act class="plain" do={() => change(null).then(close)}>
          {t('leave-unmatched')}
        </Act>
      )}
    </Dialog>
  );
}

function PairRow({ pair, open, change }: { pair: Envelope<ProposalPair>; open: boolean; change: (pair: Envelope<ProposalPair>, to: { mentor?: string | null; locked?: boolean }) => Promise<void> }) {
  const [dialog, set_dialog] = useState(false);
  const p = pair.data;
  const reasons = p.reasons.filter((r) => say(r.text));
  return (
    <li class={p.locked ? 'proposed locked' : 'proposed'}>
      <div class="proposed-head">
        <p>
          <b>{p.mentee_name}</b> <span aria-label={t('with-mentor')}>←</span> <b>{p.mentor_name}</b>
        </p>
        <span class="score">
          {number(p.points, 0)}
          <span class="hidden"> {t('of-points', { most: number(MOST, 0) })}</span>
        </span>
      </div>
      <Parts pair={p} />
      <p class="note">{reasons.map((r) => say(r.text)).join(' ') || t('no-reasons')}</p>
      <details>
        <summary>{t('points-by-part')}</summary>
        <table class="table">
          <tbody>
            {p.reasons.map((r, i) => (
              <tr key={i}>
                <th scope="row">
                  <span class={`dot part-${i % 5}`} aria-hidden="true" /> {say(r.text) || r.name || r.key}
                </th>
                <td>{number(r.points ?? 0, 0)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
      {open && (
        <div class="foot">
          <button type="button" onClick={() => set_dialog(true)}>
            {t('change-mentor')}
          </button>
          <Act do={() => change(pair, { locked: !p.locked })} class={p.locked ? 'on' : ''} label={`${t(p.locked ? 'unlock' : 'lock')}: ${p.mentee_name}`}>
            <Icon name="lock" /> {t(p.locked ? 'unlock' : 'lock')}
          </Act>
          {p.source === 'hand' && <small>{t('by-hand')}</small>}
        </div>
      )}
      {dialog && <ChangeMentor proposal={p.proposal} mentee={p.mentee} name={p.mentee_name} now={p.mentor} close={() => set_dialog(false)} change={(mentor) => change(pair, { mentor })} />}
    </li>
  );
}

function Workbench({ id, rules }: { id: string; rules: Rule[] }) {
  const loaded = useLoad(async () => {
    const proposal = await call<Envelope<Proposal>>('record.get', { type: 'proposal', id });
    keep_records([proposal]);
    await list_all<ProposalPair>('proposal_pair', { index: 'by_proposal', equals: [id] });
    return true;
  }, [id]);
  const [search, set_search] = useState('');
  const [shown, set_shown] = useState(30);
  const [approving, set_approving] = useState(false);
  const [finding, set_finding] = useState<{ mentee: string; name: string } | null>(null);
  const proposal = records<Proposal>('proposal').get(id);
  const pairs = useMemo(
    () => [...records<ProposalPair>('proposal_pair').values()].filter((p) => p.data.proposal === id).sort((a, b) => a.data.points - b.data.points),
    [records('proposal_pair'), id],
  );
  const reload = async (): Promise<void> => {
    keep_records([await call<Envelope<Proposal>>('record.get', { type: 'proposal', id })]);
    await list_all<ProposalPair>('proposal_pair', { index: 'by_proposal', equals: [id] });
  };
  const change = async (pair: Envelope<ProposalPair>, what: { mentor?: string | null; locked?: boolean }): Promise<void> => {
    const before = { mentor: pair.data.mentor, locked: pair.data.locked ?? false };
    const apply = (to: object) => attempt('match.change', { proposal: id, mentee: pair.data.mentee, ...to });
    const full = { mentor: 'mentor' in what ? what.mentor : before.mentor, ...(what.locked !== undefined ? { locked: what.locked } : {}) };
    if ((await apply(full)) === undefined) return;
    await reload();
    toast.value = { text: t('changed-toast', { name: pair.data.mentee_name }), undo: () => void apply(before).then(reload) };
  };
  const give = async (who: { mentee: string; name: string }, mentor: string | null): Promise<void> => {
    const apply = (to: string | null) => attempt('match.change', { proposal: id, mentee: who.mentee, ...(to ? { mentor: to } : {}) });
    if ((await apply(mentor)) === undefined) return;
    await reload();
    toast.value = { text: t('changed-toast', { name: who.name }), undo: () => void apply(null).then(reload) };
  };
  const approve = async (): Promise<void> => {
    const result = await attempt<{ pairs: number }>('match.approve', { proposal: id });
    set_approving(false);
    if (!result) return;
    toast.value = { text: t('approved-toast', { count: result.pairs }) };
    await reload();
  };
  return (
    <Loaded of={loaded} rows={6}>
      {() => {
        if (!proposal) return <Empty title={t('error-not-found')} />;
        const p = proposal.data;
        const open = p.state === 'draft';
        const points = pairs.map((x) => x.data.points);
        const worst = points[0];
        const median = points[Math.floor(points.length / 2)];
        const found = search ? pairs.filter((x) => fold(`${x.data.mentee_name} ${x.data.mentor_name}`).includes(fold(search))) : pairs;
        return (
          <div class="bench">
            <aside class="bench-side">
              <h2>{t('effect')}</h2>
              <dl class="effect">
                <dt>{t('matched')}</dt>
                <dd>{t('of-mentees', { matched: pairs.length, mentees: p.summary.mentees })}</dd>
                <dt>{t('seats')}</dt>
                <dd>{number(p.summary.seats)}</dd>
                <dt>{t('worst')}</dt>
                <dd>{worst === undefined ? '–' : number(worst, 0)}</dd>
                <dt>{t('median')}</dt>
                <dd>{median === undefined ? '–' : number(median, 0)}</dd>
              </dl>
              {open ? (
                <div class="foot">
                  <button type="button" class="primary" disabled={pairs.length === 0} onClick={() => set_approving(true)}>
                    {t('approve')}
                  </button>
                  <Act do={() => attempt('match.discard', { proposal: id }).then((ok) => ok !== undefined && go('match'))}>{t('discard')}</Act>
                </div>
              ) : (
                <p class="state-line">
                  <Icon name="check" /> {t(`proposal-${p.state}`)}
                </p>
              )}
              <p class="note">
                {title_of(rules, p.rule)}
                {p.rule_version && ` · ${t('version', { version: p.rule_version })}`}
              </p>
              {p.unmatched.length > 0 && (
                <details open={p.unmatched.length < 8}>
                  <summary>{t('unmatched', { count: p.unmatched.length })}</summary>
                  <ul class="unmatched">
                    {p.unmatched.slice(0, 200).map((u) => (
                      <li key={u.mentee}>
                        <b>{u.name}</b>
                        <small>{say(u.why.text) || u.why.key}</small>
                        {open && (
                          <button type="button" class="plain" onClick={() => set_finding(u)} aria-label={`${t('find-mentor')}: ${u.name}`}>
                            {t('find-mentor')}
                          </button>
                        )}
                      </li>
                    ))}
                  </ul>
                </details>
              )}
            </aside>
            <section aria-labelledby="pairs" class="bench-main">
              <div class="bench-head">
                <h2 id="pairs">{t('pairs-worst-first')}</h2>
                <label class="field inline">
                  <span>{t('search')}</span>
                  <input type="search" value={search} onInput={(e) => set_search(e.currentTarget.value)} />
                </label>
              </div>
              {found.length === 0 && <Empty title={t(search ? 'nothing-found' : 'no-pairs')} />}
              <ul class="plain-list">
                {found.slice(0, shown).map((pair) => (
                  <PairRow key={pair.id} pair={pair} open={open} change={change} />
                ))}
              </ul>
              {found.length > shown && (
                <button type="button" onClick={() => set_shown(shown + 50)}>
                  {t('show-more', { count: found.length - shown })}
                </button>
              )}
            </section>
            {finding && <ChangeMentor proposal={id} mentee={finding.mentee} name={finding.name} close={() => set_finding(null)} change={(mentor) => give(finding, mentor)} />}
            {approving && (
              <Dialog title={t('approve-question', { count: pairs.length })} close={() => set_approving(false)}>
                <p>{t('approve-note')}</p>
                <div class="foot">
                  <Act class="primary" do={approve}>
                    {t('approve')}
                  </Act>
                  <button type="button" onClick={() => set_approving(false)}>
                    {t('back')}
                  </button>
                </div>
              </Dialog>
            )}
          </div>
        );
      }}
    </Loaded>
  );
}

function NewProgramme({ made }: { made: () => void }) {
  const begin = async (event: Event): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const value = (name: string): string => (form.elements.namedItem(name) as HTMLInputElement).value;
    const title = value('title');
    const record = await attempt<Envelope<Programme>>('programme.create', {
      title: { uz: title, 'uz-Cyrl': title, ru: title, en: title },
      term: value('term'),
      starts: new Date(value('starts')).getTime(),
      ends: new Date(value('ends')).getTime(),
      questionnaires: [
        { id: 'adaptation', moment: 'before' },
        { id: 'adaptation', moment: 'after' },
      ],
    });
    if (record) {
      keep_records([record]);
      made();
    }
  };
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  const now = Date.now();
  return (
    <form class="card" onSubmit={(e) => void begin(e)}>
      <h2>{t('programme-new')}</h2>
      <label class="field">
        <span>{t('programme-title')}</span>
        <input name="title" required maxLength={200} />
      </label>
      <label class="field">
        <span>{t('programme-term')}</span>
        <input name="term" required maxLength={60} defaultValue={`${new Date().getFullYear()}/${new Date().getFullYear() + 1}`} />
      </label>
      <div class="pairs">
        <label class="field">
          <span>{t('programme-starts')}</span>
          <input name="starts" type="date" required defaultValue={day(now)} />
        </label>
        <label class="field">
          <span>{t('programme-ends')}</span>
          <input name="ends" type="date" required defaultValue={day(now + 120 * 86400000)} />
        </label>
      </div>
      <button type="submit" class="primary">
        {t('programme-begin')}
      </button>
    </form>
  );
}

const JOB = 'hamroh-match-job';

function Run({ programmes, rules, again }: { programmes: Envelope<Programme>[]; rules: Rule[]; again: () => void }) {
  const [programme, set_programme] = useState(programmes[0]?.id ?? '');
  const [rule, set_rule] = useState(programmes[0]?.data.rule ?? rules[0]?.id ?? '');
  const [weights, set_weights] = useState<Record<string, number>>({});
  const [job, set_job] = useState<Job | null>(null);
  const [id, set_id] = useState('');
  const [problem, set_problem] = useState('');
  const chosen = rules.find((r) => r.id === rule);
  const follow = async (running: Promise<{ proposal: string }>): Promise<void> => {
    set_problem('');
    try {
      const result = await running;
      sessionStorage.removeItem(JOB);
      go('match', result.proposal);
    } catch (error) {
      set_problem(words(error));
    }
    sessionStorage.removeItem(JOB);
    set_job(null);
  };
  const run = (): Promise<void> =>
    follow(
      run_job<{ proposal: string }>('match.run', { programme, rule, ...(Object.keys(weights).length ? { options: { weights } } : {}) }, set_job, (started) => {
        set_id(started);
        sessionStorage.setItem(JOB, started);
      }),
    );
  // Who left while it ran comes back to it.
  useState(() => {
    const running = sessionStorage.getItem(JOB);
    if (running) {
      set_id(running);
      void follow(watch<{ proposal: string }>(running, set_job));
    }
    return 0;
  });
  if (programmes.length === 0) return <NewProgramme made={again} />;
  return (
    <section class="card" aria-labelledby="run">
      <h2 id="run">{t('match-new')}</h2>
      <div class="pairs">
        <label class="field">
          <span>{t('programme')}</span>
          <select value={programme} onChange={(e) => set_programme(e.currentTarget.value)}>
            {programmes.map((p) => (
              <option key={p.id} value={p.id}>
                {say(p.data.title)}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>{t('rule')}</span>
          <select value={rule} onChange={(e) => (set_rule(e.currentTarget.value), set_weights({}))}>
            {rules.map((r) => (
              <option key={r.id} value={r.id}>
                {say(r.title)}
              </option>
            ))}
          </select>
        </label>
      </div>
      {chosen && chosen.criteria.length > 0 && (
        <details>
          <summary>{t('weights')}</summary>
          {chosen.criteria.map((c) => (
            <label key={c.name} class="field slider">
              <span>
                {criterion(c)} <output>{number(weights[c.name] ?? c.points, 0)}</output>
              </span>
              <input type="range" min={0} max={6000} step={100} value={weights[c.name] ?? c.points} onInput={(e) => set_weights({ ...weights, [c.name]: e.currentTarget.valueAsNumber })} />
            </label>
          ))}
          <button type="button" class="plain" onClick={() => set_weights({})}>
            {t('weights-reset')}
          </button>
        </details>
      )}
      <p class="problem" role="alert">
        {problem}
      </p>
      {job ? (
        <div class="job" role="status">
          <progress max={1} value={job.progress ?? undefined} aria-label={t('match-running')} />
          <p class="note">{job.note || t('match-running')}</p>
          <Act do={() => attempt('job.cancel', { id })}>{t('cancel')}</Act>
        </div>
      ) : (
        <Act class="primary" do={run} disabled={!programme || !rule}>
          {t('match-run')}
        </Act>
      )}
    </section>
  );
}

export function Match() {
  const base = useLoad(async () => {
    const [programmes, rules] = await Promise.all([list<Programme>('programme', { order: 'desc', limit: 50 }), call<{ items: Rule[] }>('match.rules'), list<Proposal>('proposal', { order: 'desc', limit: 50 })]);
    return { programmes: programmes.items.filter((p) => p.data.state !== 'ended'), rules: rules.items };
  }, []);
  const id = route.value[1];
  const proposals = [...records<Proposal>('proposal').values()].sort((a, b) => b.created - a.created);
  return (
    <>
      <Title note={id ? undefined : t('match-note')}>{t('nav-match')}</Title>
      <Loaded of={base}>
        {({ programmes, rules }) =>
          id ? (
            <>
              <a class="back" href={to('match')}>
                {t('all-proposals')}
              </a>
              <Workbench key={id} id={id} rules={rules} />
            </>
          ) : (
            <>
              <Run programmes={programmes} rules={rules} again={base.again} />
              {proposals.length > 0 && <h2>{t('proposals')}</h2>}
              <ul class="rows">
                {proposals.map((p) => (
                  <li key={p.id}>
                    <a class="row" href={to('match', p.id)}>
                      <span>
                        <b>{title_of(rules, p.data.rule)}</b>
                        <small>
                          {date(p.created)} · {t('of-mentees', { matched: p.data.matched, mentees: p.data.summary.mentees })}
                        </small>
                      </span>
                      <span class={`state ${p.data.state}`}>{t(`proposal-${p.data.state}`)}</span>
                    </a>
                  </li>
                ))}
              </ul>
            </>
          )
        }
      </Loaded>
    </>
  );
}
