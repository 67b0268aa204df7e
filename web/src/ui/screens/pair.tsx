// My pair: the chat, live, and the meetings. Without a pair: mentors to ask, for a mentee; requests, for a mentor. Staff see a
// pair's meetings, never its messages.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Envelope, Meeting, Mentor, Message, Pair, Slot } from '../../client/api';
import { attempt, call, is_staff, keep_records, list, me, records, send, send_again, send_not, toast, waiting, words_of } from '../../store/app';
import { route, to } from '../../store/route';
import { left, moment, say, stamp, t } from '../../store/texts';
import { Act, Dialog, Empty, Face, Icon, Loaded, Online, Title, useLoad } from '../kit';

function Reasons({ pair }: { pair: Pair }) {
  if (!pair.reasons?.length) return null;
  return (
    <details class="note">
      <summary>{t('why-we')}</summary>
      <ul>
        {pair.reasons.map((r, i) => (
          <li key={i}>{say(r.text) || r.name || r.key}</li>
        ))}
      </ul>
    </details>
  );
}

// ---- chat ------------------------------------------------------------------------------------------------------------------

function Chat({ pair, name, closed }: { pair: string; name: string; closed: boolean }) {
  const address = `pair:${pair}`;
  const first = useLoad(() => list<Message>('message', { index: 'by_to', equals: [address], order: 'desc', limit: 50 }), [pair]);
  const [cursor, set_cursor] = useState<string | null>(null);
  const [draft, set_draft] = useState('');
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => set_cursor(first.value?.cursor ?? null), [first.value]);
  const known = [...records<Message>('message').values()].filter((m) => m.data.to === address).sort((a, b) => (a.id < b.id ? -1 : 1));
  const unsent = waiting.value.filter((e) => e.method === 'message.send' && e.params.to === address);
  const last = known[known.length - 1]?.id;
  // New messages are scrolled to only when one reads at the end already.
  useEffect(() => {
    const box = log.current;
    if (box && box.scrollHeight - box.scrollTop - box.clientHeight < 200) box.scrollTop = box.scrollHeight;
  }, [last, unsent.length]);
  useEffect(() => {
    if (log.current) log.current.scrollTop = log.current.scrollHeight;
  }, [first.value]);
  const older = async (): Promise<void> => {
    const page = await list<Message>('message', { index: 'by_to', equals: [address], order: 'desc', limit: 50, cursor });
    set_cursor(page.cursor);
  };
  const submit = (): void => {
    const text = draft.trim();
    if (!text) return;
    set_draft('');
    send('message.send', { to: address, text });
  };
  return (
    <section class="chat" aria-labelledby="chat">
      <h2 id="chat" class="hidden">
        {t('chat')}
      </h2>
      <Loaded of={first} rows={4}>
        {() => (
          <div class="log" ref={log} role="log" aria-label={t('chat-with', { name })} tabIndex={0}>
            {cursor && (
              <Act class="plain" do={older}>
                {t('older')}
              </Act>
            )}
            {known.length + unsent.length === 0 && <Empty title={t('chat-empty', { name })}>{<p>{t('chat-empty-hint')}</p>}</Empty>}
            {known.map((m) => (
              <div key={m.id} class={m.data.from === me.value ? 'said mine' : 'said'}>
                <p>{m.data.text}</p>
                <small>
                  <span class="hidden">{m.data.from === me.value ? t('you') : name}, </span>
                  {stamp(m.data.sent)}
                  {m.data.from === me.value && (
                    <>
                      {' '}
                      <Icon name="check" />
                      <span class="hidden">{t('sent')}</span>
                    </>
                  )}
                </small>
              </div>
            ))}
            {unsent.map((e) => (
              <div key={e.idem} class={e.state === 'pending' ? 'said mine pending' : 'said mine failed'}>
                <p>{String(e.params.text)}</p>
                {e.state === 'pending' ? (
                  <small>
                    <Icon name="clock" /> {t('sending')}
                  </small>
                ) : (
                  <small>
                    {words_of(e)}{' '}
                    <button type="button" class="plain" onClick={() => send_again(e.idem)}>
                      {t('try-again')}
                    </button>
                    <button type="button" class="plain" onClick={() => send_not(e.idem)}>
                      {t('drop')}
                    </button>
                  </small>
                )}
              </div>
            ))}
          </div>
        )}
      </Loaded>
      {!closed && (
        <form class="compose" onSubmit={(e) => (e.preventDefault(), submit())}>
          <label class="hidden" for="draft">
            {t('message-to', { name })}
          </label>
          <textarea
            id="draft"
            rows={1}
            maxLength={4000}
            placeholder={t('message-to', { name })}
            value={draft}
            onInput={(e) => set_draft(e.currentTarget.value)}
            onKeyDown={(e) => e.key === 'Enter' && !e.shiftKey && !e.isComposing && (e.preventDefault(), submit())}
          />
          <button type="submit" class="primary" aria-label={t('send')} disabled={!draft.trim()}>
            <Icon name="send" />
          </button>
        </form>
      )}
    </section>
  );
}

// ---- meetings --------------------------------------------------------------------------------------------------------------

function Propose({ pair, close }: { pair: string; close: () => void }) {
  const slots = useLoad(() => call<{ slots: Slot[] }>('meeting.slots', { pair }), [pair]);
  const [place, set_place] = useState('');
  const [all, set_all] = useState(false);
  const propose = async (slot: Slot): Promise<void> => {
    const link = /^https?:\/\//.test(place.trim());
    const made = await attempt<Envelope<Meeting>>('meeting.propose', {
      pair,
      starts: slot.starts,
      minutes: slot.minutes,
      ...(place.trim() ? (link ? { online: place.trim() } : { place: place.trim() }) : {}),
    });
    if (made) {
      keep_records([made]);
      toast.value = { text: t('proposed-toast'), undo: () => void attempt('meeting.cancel', { meeting: made.id }) };
      close();
    }
  };
  return (
    <Dialog title={t('propose-title')} close={close}>
      <label class="field">
        <span>{t('place-or-link')}</span>
        <input value={place} maxLength={200} onInput={(e) => set_place(e.currentTarget.value)} placeholder={t('place-example')} />
      </label>
      <Loaded of={slots}>
        {({ slots: found }) => {
          const sorted = [...found].sort((a, b) => Number(b.weekend) - Number(a.weekend) || a.starts - b.starts);
          const shown = all ? sorted : sorted.slice(0, 6);
          return found.length === 0 ? (
            <Empty title={t('no-slots')}>
              <a class="button" href={to('me')} onClick={close}>
                {t('to-hours')}
              </a>
            </Empty>
          ) : (
            <ul class="slots" aria-label={t('both-free')}>
              {shown.map((slot) => (
                <li key={slot.starts}>
                  <Act do={() => propose(slot)} class={slot.weekend ? 'slot weekend' : 'slot'}>
                    <b>{moment(slot.starts)}</b>
                    <small>
                      {t('minutes', { count: slot.minutes })}
                      {slot.weekend && ` · ${t('weekend')}`}
                    </small>
                  </Act>
                </li>
              ))}
              {!all && sorted.length > 6 && (
                <li>
                  <button type="button" class="plain" onClick={() => set_all(true)}>
                    {t('more-times')}
                  </button>
                </li>
              )}
            </ul>
          );
        }}
      </Loaded>
    </Dialog>
  );
}

function OneMeeting({ meeting, mine }: { meeting: Envelope<Meeting>; mine: boolean }) {
  const m = meeting.data;
  const over = m.starts + m.minutes * 60000 < Date.now();
  const begun = m.starts < Date.now();
  const change = async (method: string, params: object): Promise<void> => {
    const record = await attempt<Envelope<Meeting>>(method, { meeting: meeting.id, ...params });
    if (record?.id) keep_records([record]);
  };
  return (
    <li class={`meeting ${m.state}`}>
      <p>
        <b>{moment(m.starts)}</b>
        <span class="state">{t(`meeting-${m.state}`)}</span>
      </p>
      {(m.place || m.online || m.topic) && (
        <p class="note">
          {[m.place, m.topic].filter(Boolean).join(' · ')}{' '}
          {m.online && (
            <a href={m.online} rel="noreferrer noopener" target="_blank">
              {t('join-online')}
            </a>
          )}
        </p>
      )}
      {mine && m.state === 'proposed' && !over && m.proposed_by !== me.value && (
        <div class="foot">
          <Act class="primary" do={() => change('meeting.answer', { accept: true })}>
            {t('accept')}
          </Act>
          <Act do={() => change('meeting.answer', { accept: false })}>{t('decline')}</Act>
        </div>
      )}
      {mine && m.state === 'accepted' && begun && (
        <div class="foot">
          <Act class="primary" do={() => change('meeting.log', { outcome: 'held' })}>
            {t('we-met')}
          </Act>
          <Act do={() => change('meeting.log', { outcome: 'no_show' })}>{t('no-show')}</Act>
        </div>
      )}
      {mine && !begun && (m.state === 'accepted' || (m.state === 'proposed' && m.proposed_by === me.value)) && (
        <Act class="plain" do={() => change('meeting.cancel', {})}>
          {t('call-off')}
        </Act>
      )}
    </li>
  );
}

/** A meeting that was not planned here: it happened, and counts. */
function LogNow({ pair, close }: { pair: string; close: () => void }) {
  const [topic, set_topic] = useState('');
  const log = async (hours: number): Promise<void> => {
    const record = await attempt<Envelope<Meeting>>('meeting.log', { pair, starts: Date.now() - hours * 3600000, outcome: 'held', ...(topic.trim() ? { topic: topic.trim() } : {}) });
    if (record) {
      keep_records([record]);
      toast.value = { text: t('logged-toast') };
      close();
    }
  };
  return (
    <Dialog title={t('log-title')} close={close}>
      <label class="field">
        <span>{t('topic')}</span>
        <input value={topic} maxLength={200} onInput={(e) => set_topic(e.currentTarget.value)} />
      </label>
      <div class="foot">
        <Act class="primary" do={() => log(1)}>
          {t('met-today')}
        </Act>
        <Act do={() => log(24)}>{t('met-yesterday')}</Act>
      </div>
    </Dialog>
  );
}

function Meetings({ pair, mine, active }: { pair: string; mine: boolean; active: boolean }) {
  const first = useLoad(() => list<Meeting>('meeting', { index: 'by_pair', equals: [pair], order: 'desc', limit: 50 }), [pair]);
  const [dialog, set_dialog] = useState<'propose' | 'log' | null>(null);
  const all = [...records<Meeting>('meeting').values()].filter((m) => m.data.pair === pair).sort((a, b) => a.data.starts - b.data.starts);
  const open = all.filter((m) => m.data.state === 'proposed' || m.data.state === 'accepted');
  const past = all.filter((m) => !open.includes(m)).reverse();
  const held = all.filter((m) => m.data.state === 'held').length;
  return (
    <section aria-labelledby="meetings" class="meetings">
      <h2 id="meetings">{t('meetings')}</h2>
      <Loaded of={first} rows={1}>
        {() => (
          <>
            {open.length === 0 && <p class="note">{t(held ? 'no-meeting-planned' : 'no-meeting-yet')}</p>}
            <ul class="plain-list">
              {open.map((m) => (
                <OneMeeting key={m.id} meeting={m} mine={mine} />
              ))}
            </ul>
            {mine && active && (
              <div class="foot">
                <button type="button" class={open.length ? '' : 'primary'} onClick={() => set_dialog('propose')}>
                  {t('propose')}
                </button>
                <button type="button" onClick={() => set_dialog('log')}>
                  {t('log-meeting')}
                </button>
              </div>
            )}
            {past.length > 0 && (
              <details>
                <summary>{t('past-meetings', { count: held })}</summary>
                <ul class="plain-list">
                  {past.map((m) => (
                    <OneMeeting key={m.id} meeting={m} mine={mine} />
                  ))}
                </ul>
              </details>
            )}
          </>
        )}
      </Loaded>
      {dialog === 'propose' && <Propose pair={pair} close={() => set_dialog(null)} />}
      {dialog === 'log' && <LogNow pair={pair} close={() => set_dialog(null)} />}
    </section>
  );
}

// ---- the pair --------------------------------------------------------------------------------------------------------------

/** After the first meeting each is asked alone; the other side never sees the answer. */
function Fits({ pair }: { pair: Envelope<Pair> }) {
  const [answered, set_answered] = useState(false);
  if (answered || !pair.data.held || pair.data.answers?.[me.value ?? '']) return null;
  const answer = async (fits: string): Promise<void> => {
    if (await attempt('pair.answer', { pair: pair.id, fits })) {
      set_answered(true);
      toast.value = { text: t('fits-thanks') };
    }
  };
  return (
    <section class="card" aria-labelledby="fits">
      <h2 id="fits">{t('fits-question')}</h2>
      <p class="note">{t('fits-note')}</p>
      <div class="foot">
        <Act do={() => answer('fits')}>{t('fits-fits')}</Act>
        <Act do={() => answer('unsure')}>{t('fits-unsure')}</Act>
        <Act do={() => answer('no')}>{t('fits-no')}</Act>
      </div>
    </section>
  );
}

function One({ pair }: { pair: Envelope<Pair> }) {
  const p = pair.data;
  const mine = p.mentor === me.value || p.mentee === me.value;
  const mentor = p.mentor === me.value;
  const name = mentor ? p.mentee_name : p.mentor_name;
  if (!mine)
    return (
      <>
        <Title note={t(`pair-${p.state}`)}>{`${p.mentor_name} · ${p.mentee_name}`}</Title>
        <p class="note">{t('pair-staff-note')}</p>
        <Meetings pair={pair.id} mine={false} active={false} />
        <Reasons pair={p} />
      </>
    );
  if (p.state === 'requested') return mentor ? <Request pair={pair} /> : <Asked pair={pair} />;
  return (
    <div class="two">
      <div class="side">
        <Title
          note={
            <>
              {t(mentor ? 'your-mentee' : 'your-mentor')} <Online person={mentor ? p.mentee : p.mentor} />
            </>
          }
        >
          {name}
        </Title>
        <Meetings pair={pair.id} mine={mine} active={p.state === 'active'} />
      </div>
      <Chat pair={pair.id} name={name} closed={p.state === 'ended'} />
      <div class="side">
        <Fits pair={pair} />
        <Reasons pair={p} />
      </div>
    </div>
  );
}

function Request({ pair }: { pair: Envelope<Pair> }) {
  const respond = async (accept: boolean): Promise<void> => {
    const record = await attempt<Envelope<Pair>>('pair.respond', { pair: pair.id, accept });
    if (record) keep_records([record]);
  };
  return (
    <article class="card">
      <h2>{t('request-from', { name: pair.data.mentee_name })}</h2>
      {pair.data.due !== undefined && (
        <p class="clock">
          <Icon name="clock" /> {left(pair.data.due)}
        </p>
      )}
      <div class="foot">
        <Act class="primary" do={() => respond(true)}>
          {t('request-yes')}
        </Act>
        <Act do={() => respond(false)}>{t('request-no')}</Act>
      </div>
    </article>
  );
}
function Asked({ pair }: { pair: Envelope<Pair> }) {
  const withdraw = async (): Promise<void> => {
    const record = await attempt<Envelope<Pair>>('pair.end', { pair: pair.id });
    if (record) keep_records([record]);
  };
  return (
    <article class="card">
      <h2>{t('asked', { name: pair.data.mentor_name })}</h2>
      {pair.data.due !== undefined && (
        <p class="clock">
          <Icon name="clock" /> {left(pair.data.due)}
        </p>
      )}
      <Act class="plain" do={withdraw}>
        {t('withdraw')}
      </Act>
    </article>
  );
}

function Mentors() {
  const mentors = useLoad(() => call<Mentor[]>('pair.mentors'), []);
  const ask = async (mentor: Mentor): Promise<void> => {
    const record = await attempt<Envelope<Pair>>('pair.request', { mentor: mentor.person });
    if (record) keep_records([record]);
    else mentors.again();
  };
  return (
    <section aria-labelledby="mentors">
      <h2 id="mentors">{t('mentors-free')}</h2>
      <Loaded of={mentors}>
        {(items) =>
          items.length === 0 ? (
            <Empty title={t('mentors-none')}>
              <p>{t('mentors-none-hint')}</p>
            </Empty>
          ) : (
            <ul class="plain-list">
              {items.slice(0, 30).map((m) => (
                <li key={m.person} class="card person">
                  <Face name={m.name} />
                  <div>
                    <h3>{m.name}</h3>
                    <p class="note">
                      {[m.faculty, m.year !== undefined ? t('year', { year: m.year }) : '', m.languages.join(', ')].filter(Boolean).join(' · ')}
                    </p>
                    {m.strengths.length > 0 && <p class="tags">{m.strengths.map((s) => <span key={s}>{s}</span>)}</p>}
                    <p class="note">{t('places', { count: m.free })}</p>
                  </div>
                  <Act do={() => ask(m)} label={t('ask-name', { name: m.name })}>
                    {t('ask')}
                  </Act>
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </section>
  );
}

export function PairScreen() {
  const wanted = route.value[1];
  const mine = useLoad(async () => {
    if (wanted) {
      const record = await call<Envelope<Pair>>('record.get', { type: 'pair', id: wanted }).catch(() => null);
      if (record) keep_records([record]);
    }
    if (!is_staff.value) {
      const { pairs } = await call<{ pairs: Envelope<Pair>[] }>('person.me');
      keep_records(pairs);
    }
    return true;
  }, [wanted]);
  const all = [...records<Pair>('pair').values()];
  const own = all.filter((p) => p.data.mentor === me.value || p.data.mentee === me.value).filter((p) => p.data.state !== 'ended');
  const shown = wanted ? all.find((p) => p.id === wanted) : own.length === 1 ? own[0] : undefined;
  const as_mentee = own.some((p) => p.data.mentee === me.value);
  return (
    <Loaded of={mine}>
      {() => {
        if (shown) return <One key={shown.id} pair={shown} />;
        if (wanted) return <Empty title={t('error-not-found')}>{<a class="button" href={to('pair')}>{t('back')}</a>}</Empty>;
        return (
          <>
            <Title>{t('nav-pair')}</Title>
            {own.filter((p) => p.data.state === 'requested').map((p) => (p.data.mentor === me.value ? <Request key={p.id} pair={p} /> : <Asked key={p.id} pair={p} />))}
            <ul class="rows">
              {own.filter((p) => p.data.state === 'active').map((p) => (
                <li key={p.id}>
                  <a class="row" href={to('pair', p.id)}>
                    <Face name={p.data.mentor === me.value ? p.data.mentee_name : p.data.mentor_name} />
                    <span>
                      <b>{p.data.mentor === me.value ? p.data.mentee_name : p.data.mentor_name}</b>
                      <small>
                        {t(p.data.mentor === me.value ? 'your-mentee' : 'your-mentor')} · {t('held-count', { count: p.data.held ?? 0 })}{' '}
                        <Online person={p.data.mentor === me.value ? p.data.mentee : p.data.mentor} />
                      </small>
                    </span>
                  </a>
                </li>
              ))}
            </ul>
            {!as_mentee && <Mentors />}
          </>
        );
      }}
    </Loaded>
  );
}
