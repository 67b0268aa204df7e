// Where else one wants to hear of one's news: a mailbox, a chat in Telegram; which news, and when not.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Contact, ContactList, Envelope } from '../client/api';
import { RpcError } from '../client/rpc';
import { attempt, call, on_event, toast, words } from '../store/app';
import { date, language, t } from '../store/texts';
import { Act, Icon, Loaded, useLoad } from './kit';

const topics = ['meeting', 'pair', 'message'];
const clock = (minutes: number): string => `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
const minutes = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));

function why(error: unknown): string {
  const reason = error instanceof RpcError && error.data?.reason;
  if (reason === 'code_over') return t('contact-code-over');
  if (reason === 'too_many_contacts') return t('contact-too-many');
  if (error instanceof RpcError && error.code === -32602) {
    const path = (error.data?.errors as { path: string }[] | undefined)?.[0]?.path;
    if (path === 'code') return t('contact-code-wrong');
    if (path === 'address') return t('contact-address-wrong');
  }
  return words(error);
}

/** The code that was sent, or another one. */
function Confirm({ contact, again }: { contact: Contact; again: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  const [problem, set_problem] = useState('');
  const [link, set_link] = useState('');
  const submit = async (): Promise<void> => {
    if (!field.current!.form!.reportValidity()) return;
    try {
      await call('contact.verify', { contact: contact.id, code: field.current!.value.trim() });
      toast.value = { text: t('contact-confirmed') };
      again();
    } catch (error) {
      set_problem(why(error));
      field.current?.select();
    }
  };
  const renew = async (): Promise<void> => {
    try {
      const made = await call<{ link?: string }>('contact.set', { contact: contact.id, again: true });
      set_problem('');
      if (made.link) set_link(made.link);
      else toast.value = { text: t('contact-code-sent') };
    } catch (error) {
      set_problem(why(error));
    }
  };
  return (
    <form onSubmit={(e) => (e.preventDefault(), contact.channel === 'email' && void submit())}>
      {contact.refused ? <p class="warning">{t('contact-refused')}</p> : <p>{contact.channel === 'email' ? t('contact-code-note') : t('contact-link-note')}</p>}
      {contact.channel === 'email' && (
        <label class="field">
          <span>{t('contact-code')}</span>
          <input ref={field} name="contact-code" required inputMode="numeric" pattern="[0-9]{6}" maxLength={6} autocomplete="one-time-code" placeholder="000000" />
        </label>
      )}
      {link && (
        <a class="button" href={link} target="_blank" rel="noreferrer">
          {t('contact-open-telegram')}
        </a>
      )}
      <p class="problem" role="alert">
        {problem}
      </p>
      <div class="foot">
        {contact.channel === 'email' && (
          <Act class="primary" type="submit" do={submit}>
            {t('contact-confirm')}
          </Act>
        )}
        <Act do={renew}>{contact.channel === 'email' ? t('contact-code-again') : t('contact-link-again')}</Act>
      </div>
    </form>
  );
}

function Wishes({ contact, again }: { contact: Contact; again: () => void }) {
  const save = async (change: object): Promise<void> => {
    if ((await attempt('contact.set', { contact: contact.id, ...change })) !== undefined) again();
  };
  const some = topics.filter((x) => contact.wants.includes(x));
  const choice = contact.wants.includes('all') ? 'all' : contact.wants.length === 0 ? 'none' : 'some';
  const kind = (wants: string[]): Promise<void> => save({ wants });
  return (
    <>
      <label class="field inline">
        <span>{t('contact-wants')}</span>
        <select value={choice} onChange={(e) => void kind(e.currentTarget.value === 'all' ? ['all'] : e.currentTarget.value === 'none' ? [] : ['urgent'])}>
          <option value="all">{t('contact-wants-all')}</option>
          <option value="some">{t('contact-wants-some')}</option>
          <option value="none">{t('contact-wants-none')}</option>
        </select>
      </label>
      {choice === 'some' &&
        ['urgent', ...topics].map((name) => (
          <label key={name} class="check">
            <input
              type="checkbox"
              checked={contact.wants.includes(name)}
              onChange={(e) => void kind(e.currentTarget.checked ? [...contact.wants, name] : contact.wants.filter((x) => x !== name))}
            />{' '}
            {t(`contact-topic-${name}`)}
          </label>
        ))}
      {choice === 'some' && some.length === 0 && !contact.wants.includes('urgent') && <p class="note">{t('contact-wants-none')}</p>}
      <label class="check">
        <input type="checkbox" checked={!!contact.quiet} onChange={(e) => void save({ quiet: e.currentTarget.checked ? { from: 22 * 60, to: 7 * 60 } : {} })} /> {t('contact-quiet')}
      </label>
      {contact.quiet && (
        <div class="foot">
          {(['from', 'to'] as const).map((end) => (
            <label key={end} class="field inline">
              <span>{t(`contact-quiet-${end}`)}</span>
              <input type="time" required value={clock(contact.quiet![end])} onChange={(e) => e.currentTarget.value && void save({ quiet: { ...contact.quiet, [end]: minutes(e.currentTarget.value) } })} />
            </label>
          ))}
        </div>
      )}
    </>
  );
}

function One({ contact, again }: { contact: Contact; again: () => void }) {
  const [address, set_address] = useState('');
  const show = async (): Promise<void> => {
    const record = await attempt<Envelope<{ address?: string }>>('record.get', { type: 'contact', id: contact.id, why: 'own' });
    set_address(record?.data.address ?? '');
  };
  const remove = async (): Promise<void> => {
    if ((await attempt('contact.remove', { contact: contact.id })) !== undefined) again();
  };
  const name = t(`contact-${contact.channel}`);
  return (
    <li class="contact">
      <p>
        <b>{name}</b> {address && contact.channel === 'email' && <span>{address}</span>}
        <small>{contact.verified ? t('contact-since', { date: date(contact.verified) }) : t('contact-not-yet')}</small>
      </p>
      {contact.verified ? <Wishes contact={contact} again={again} /> : <Confirm contact={contact} again={again} />}
      <div class="foot">
        {contact.channel === 'email' && !address && (
          <Act class="plain" do={show}>
            {t('contact-show')}
          </Act>
        )}
        <Act class="plain" label={`${t('contact-remove')}: ${name}`} do={remove}>
          {t('contact-remove')}
        </Act>
      </div>
    </li>
  );
}

function Add({ channels, again }: { channels: ContactList['channels']; again: () => void }) {
  const form = useRef<HTMLFormElement>(null);
  const [problem, set_problem] = useState('');
  const [link, set_link] = useState('');
  const make = async (params: object): Promise<{ link?: string } | undefined> => {
    set_problem('');
    try {
      return await call<{ link?: string }>('contact.set', { locale: language.value, ...params });
    } catch (error) {
      set_problem(why(error));
      return undefined;
    }
  };
  const email = async (): Promise<void> => {
    if (!form.current!.reportValidity()) return;
    const field = form.current!.elements.namedItem('contact-address') as HTMLInputElement;
    if (!(await make({ channel: 'email', address: field.value.trim() }))) return;
    field.value = '';
    toast.value = { text: t('contact-code-sent') };
    again();
  };
  const telegram = async (): Promise<void> => {
    const made = await make({ channel: 'telegram' });
    if (made?.link) set_link(made.link);
    if (made) again();
  };
  return (
    <>
      {channels.email && (
        <form ref={form} onSubmit={(e) => (e.preventDefault(), void email())}>
          <label class="field">
            <span>{t('contact-address')}</span>
            <input name="contact-address" type="email" required maxLength={254} autocomplete="email" />
          </label>
          <Act type="submit" do={email}>
            {t('contact-add-email')}
          </Act>
        </form>
      )}
      {channels.telegram && <Act do={telegram}>{t('contact-add-telegram')}</Act>}
      {link && (
        <a class="button primary" href={link} target="_blank" rel="noreferrer">
          {t('contact-open-telegram')}
        </a>
      )}
      <p class="problem" role="alert">
        {problem}
      </p>
    </>
  );
}

export function Contacts() {
  const rows = useLoad(() => call<ContactList>('contact.list'), []);
  // Whoever connects a chat does so in Telegram; the feed tells when it is done.
  useEffect(() => on_event((event) => event.type === 'contact' && rows.again()), []);
  return (
    <section class="card" aria-labelledby="contacts">
      <h2 id="contacts">
        <Icon name="bell" /> {t('contacts')}
      </h2>
      <p class="note">{t('contacts-note')}</p>
      <Loaded of={rows} rows={1}>
        {({ items, channels }) => (
          <>
            {items.length > 0 && (
              <ul class="plain-list">
                {items.map((c) => (
                  <One key={c.id} contact={c} again={rows.again} />
                ))}
              </ul>
            )}
            {channels.email || channels.telegram ? <Add channels={channels} again={rows.again} /> : <p class="note">{t('contacts-none')}</p>}
          </>
        )}
      </Loaded>
    </section>
  );
}
