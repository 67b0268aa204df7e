// A server with an institution of every role, one beside it, and the cluster; records of every type whose texts name the row of
// records.txt they belong to, so that any byte sent to somebody who may not see them is found.
import { readFileSync } from 'node:fs';
import { Client, Server, RpcError, password_hash } from '../harness.mjs';
import { code } from '../totp.mjs';
import { roles, words } from './matrix.mjs';

export const fixture = readFileSync(new URL('fixture.lua', import.meta.url), 'utf8');
export const marker = (type, which) => `SECRET-${type}-${which}`;
const DAY = 86400000;

// A client that keeps each answer as it came, and gives every text it receives to `tap`.
export class Watched extends Client {
  raw = new Map();
  methods = new Map();
  static async open(url, role, tap) {
    const client = new Watched();
    Object.assign(client, { url, options: {}, role, tap });
    await client.connect();
    return client;
  }
  async connect() {
    await super.connect();
    this.socket.on('message', (bytes) => {
      const text = String(bytes);
      const id = /"id":(\d+)\}$/.exec(text);
      if (id) this.raw.set(Number(id[1]), text.slice(0, -id[0].length));
      this.tap?.(this.role, (id && this.methods.get(Number(id[1]))) ?? JSON.parse(text).method, text);
    });
  }
  write(text) {
    const message = JSON.parse(text);
    this.methods.set(message.id, message.method);
    super.write(text);
  }
  // {word, raw, result, error}: raw is the answer as it came, without the id of the request.
  async ask(method, params) {
    const id = this.next_id;
    try {
      const result = await this.call(method, params);
      return { word: 'ok', result, raw: this.raw.get(id) };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return { word: words[error.code] ?? String(error.code), error: error.error, raw: this.raw.get(id) };
    } finally {
      this.raw.delete(id);
      this.methods.delete(id);
    }
  }
}

// What the app on a phone shows, of a secret as it is shown to people; something for none.
export const totp = (secret = '') => (secret ? code(secret) : '000000');
export async function set_up_totp(client) {
  const { secret } = await client.call('session.totp_begin');
  return { secret, ...(await client.call('session.totp_confirm', { code: totp(secret) })) };
}

// ---- records -----------------------------------------------------------------------------------------------------------------

export const person_id = (who) => `person-${who}`;
const p = (who) => 'person:' + person_id(who);
// Who "own" and "other" are.
export const sides = {
  own: { mentor: 'mentor', mentee: 'mentee', coach: 'coach' },
  other: { mentor: 'other_mentor', mentee: 'other_mentee', coach: 'other_coach' },
};

export function person_data(who, more = {}) {
  return { name: `Name of ${who}`, name_folded: `name of ${who}`, kind: 'student', year: 2, status: 'active', languages: ['uz'], ...more };
}
export const person_audience = (id) => ['person:' + id, 'role:coordinator', 'role:administrator', 'role:psychologist', 'role:coach'];

// The record of a type as its service would write it. id: of this one; of: ids of what it belongs to.
export function record(type, which, id, of, more = {}) {
  const s = sides[which] ?? {};
  const mark = marker(type, which);
  const pair = of.pair?.[which];
  const members = [p(s.mentor), p(s.mentee)];
  const staff = ['role:coordinator', 'role:administrator'];
  const now = Date.now();
  const made = {
    person: () => ({ data: person_data(id, { special: mark, ...more }), audience: person_audience(id) }),
    programme: () => ({
      data: { title: 'Autumn', term: '2026', purpose: mark, starts: now - 30 * DAY, ends: now + 60 * DAY, state: 'ended', ...more },
      audience: ['institution'],
    }),
    pair: () => ({
      data: { mentor: person_id(s.mentor), mentee: person_id(s.mentee), mentor_name: `Name of ${s.mentor}`, mentee_name: `Name of ${s.mentee}`,
        state: 'active', starts: now - DAY, reasons: [{ text: mark }], ...more },
      members, audience: ['pair:' + id, ...staff],
    }),
    pair_answer: () => ({
      data: { pair, person: person_id(s.mentee), fits: 'no', open: true, answered: now, end_reason: mark, ...more },
      audience: [p(s.mentee), 'role:coordinator'],
    }),
    meeting: () => ({
      data: { pair, starts: now + 90 * DAY, minutes: 60, state: 'proposed', proposed_by: person_id(s.mentee), topic: mark, ...more },
      audience: ['pair:' + pair, ...staff],
    }),
    message: () => ({ data: { to: 'pair:' + pair, from: person_id(s.mentor), text: mark, sent: now, ...more }, audience: ['pair:' + pair] }),
    measure: () => ({
      data: { person: person_id(s.mentee), name: mark, moment: 'before', value: 12, max: 20, ...more },
      audience: [p(s.mentee), ...staff],
    }),
    questionnaire_result: () => ({
      data: { person: person_id(s.mentee), questionnaire: 'gad7', version: '1', moment: 'before', answers: { g1: 'SEALED-answers' },
        private: { scores: { GAD7: 21 }, bands: { GAD7: 'SEALED-band' } }, taken: now, urgent: true, seen: false, entered_by: mark, ...more },
      audience: [p(s.mentee), 'role:psychologist'],
    }),
    activity: () => ({
      data: { kind: 'volunteering', title: 'Trees', stage: 'announced', place: mark, fields: {}, organiser: person_id(s.coach), ...more },
      members: [p(s.coach), p(s.mentor)], audience: ['institution'],
    }),
    activity_entry: () => ({
      data: { activity: of.activity[which], person: person_id(s.mentor), role: mark, values: {}, ...more },
      audience: [p(s.mentor), 'activity:' + (more.activity ?? of.activity[which]), ...staff],
    }),
    proposal: () => ({
      data: { programme: of.programme.all, rule: 'successful-unsuccessful', rule_version: '1', state: 'draft', matched: 0, unmatched: [],
        summary: { mentees: 0, mentors: 0, seats: 0, matched: 0, worst: 0, median: 0 }, options: { note: mark }, made: now, ...more },
      audience: staff,
    }),
    proposal_pair: () => ({
      data: { proposal: of.proposal.all, mentee: 'person-z1', mentor: 'person-z2', points: 1, reasons: [{ text: mark }], ...more },
      audience: staff,
    }),
  }[type];
  if (!made) throw new Error(`records of type ${type}: say in access/world.mjs how the service writes one`);
  return { type, id, ...made() };
}

// ---- the world ---------------------------------------------------------------------------------------------------------------

const accounts = {
  student: ['student'], mentor: ['student'], mentee: ['student'], coordinator: ['coordinator'], psychologist: ['psychologist'],
  coach: ['coach'], administrator: ['administrator'],
};
const extra = ['other_mentor', 'other_mentee', 'other_coach', 'z1', 'z2'];

export class World {
  leaks = new Map(); // "type which -> role by method": the first text in which it came
  next = 1;
  waiting = [];
  spare = []; // connections that one call has used
  unmarked = new Map(); // texts that can hold no marker -> their row

  static async start() {
    const world = new World();
    // There is a mail server by the settings, and nobody at its port: what is to be sent waits.
    world.server = await Server.start({
      settings: 'return { smtp_url = "smtp://127.0.0.1:1", smtp_from = "hamroh@home.example", webhook_networks = "127.0.0.1" }\n',
    });
    try {
      await world.people();
      await world.connect();
      await world.records();
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  async people() {
    const { server } = this;
    [this.home, this.away] = await Promise.all([server.institution('home'), server.institution('away')]);
    const cluster = { call: (m, q) => server.call(m, q) };
    await Promise.all([this.home, this.away].map((place) => place.deploy('service', 'fixture', fixture)));
    await this.home.deploy('service', 'homely', 'return service { id = "homely" }\n', marker('plugin_version', 'all'));
    const people = [...Object.keys(accounts), ...extra].map((who) => ({
      type: 'person', id: person_id(who), data: person_data(who, { ...(who === 'mentee' && { special: marker('person', 'own') }),
        ...(who === 'other_mentee' && { special: marker('person', 'other') }) }), audience: person_audience(person_id(who)),
    }));
    for (const who of ['listed', 'listed2', 'listed3'])
      people.push({ type: 'person', id: person_id(who), data: person_data(who, { mentoring: { capacity: 20, status: 'active' } }),
        audience: person_audience(person_id(who)) });
    const foreign = ['foreign_admin', 'foreign_student'].map((who) => ({ type: 'person', id: person_id(who), data: person_data(who),
      audience: person_audience(person_id(who)) }));
    foreign.push({ type: 'programme', id: 'programme-foreign', data: { title: 'Autumn', term: '2026', starts: Date.now() - 30 * DAY,
      ends: Date.now() + 60 * DAY, state: 'active' }, audience: ['institution'] });
    await Promise.all([
      this.home.call('fixture.put', { records: people }),
      this.away.call('fixture.put', { records: foreign }),
      ...Object.entries(accounts).map(([login, r]) => this.home.account(login, r, person_id(login))),
      this.home.account(marker('account', 'hidden'), ['student']),
      this.home.account('aside', ['student']),
      this.home.account('other_mentee', ['student'], person_id('other_mentee')),
      this.away.account('foreign_admin', ['administrator'], person_id('foreign_admin')),
      this.away.account('foreign_student', ['student'], person_id('foreign_student')),
      cluster.call('programme.create', { title: 'Autumn', term: '2026', starts: Date.now(), ends: Date.now() + 60 * DAY }),
      cluster.call('account.create', { login: 'cluster_admin', password_hash, roles: ['administrator'] }),
    ]);
  }

  place_of(role) {
    return role.startsWith('foreign') ? 'away' : role === 'cluster_admin' ? 'cluster' : 'home';
  }
  tap = (role, method, text) => {
    for (const found of text.matchAll(/SECRET-([a-z_]+)-([a-z]+)|SEALED-/g)) {
      const key = `${found[1] ?? 'sealed'} ${found[2] ?? ''}|${role}|${method}`;
      if (!this.leaks.has(key)) this.leaks.set(key, text.slice(Math.max(0, found.index - 150), found.index + 80));
    }
    for (const [secret, row] of this.unmarked) if (text.includes(secret)) this.leaks.set(`${row}|${role}|${method}`, text.slice(0, 300));
  };
  // One more connection of a role, signed in.
  async connection(role, login = role) {
    const client = await Watched.open(this.server.url, role, this.tap);
    if (role !== 'stranger') client.session = await client.login(this.place_of(role), login);
    return client;
  }
  // Signed in with an account of its own that has the role's roles.
  async twin(role) {
    if (role === 'stranger') return this.connection(role);
    const login = `twin${this.next++}`, { roles: same } = this.as[role].session;
    await this.server.call('account.create', { login, password_hash, roles: same }, { institution: this.place_of(role) });
    return this.connection(role, login);
  }
  async connect() {
    const opened = await Promise.all(roles.map((role) => this.connection(role)));
    this.as = Object.fromEntries(roles.map((role, i) => [role, opened[i]]));
    await Promise.all(opened.map((client) => client.role !== 'stranger' && client.open_feed()));
  }

  // ids of the records of records.txt: by "type which"
  async records() {
    const of = { pair: {}, activity: {}, programme: {}, proposal: {} };
    const put = [];
    this.ids = { 'person own': person_id('mentee'), 'person other': person_id('other_mentee'), 'institution all': 'home', 'plugin all': 'service/homely' };
    const make = (type, which, more) => {
      const made = record(type, which, `${type}-of-${which}`, of, more);
      this.ids[`${type} ${which}`] = made.id;
      if (of[type]) of[type][which] = made.id;
      put.push(made);
    };
    this.of = of;
    make('programme', 'all', { state: 'active' });
    make('proposal', 'all');
    make('proposal_pair', 'all');
    for (const which of ['own', 'other'])
      for (const type of ['pair', 'activity', 'pair_answer', 'meeting', 'message', 'measure', 'questionnaire_result', 'activity_entry']) make(type, which);
    await this.home.call('fixture.put', { records: put });
    await this.core_records();
  }

  // What only the core writes, by what makes the core write it.
  async core_records() {
    const roster = (which) => ({
      csv: `id,name,junk\nJ-${which},Somebody,${marker('job', which)}\n`, map: { key: { column: 'id' }, person: { name: { column: 'name' } } },
    });
    const jobs = [this.as.coordinator.call('roster.apply', roster('own')), this.home.call('roster.apply', roster('other'))];
    const opened = this.as.mentee.call('record.get', { type: 'questionnaire_result', id: this.ids['questionnaire_result own'], why: marker('audit', 'all') });
    const awards = Object.keys(sides).map((which) => this.home.call('fixture.award', { person: person_id(sides[which].mentee), title: marker('award', which) })
      .then(({ id }) => (this.ids[`award ${which}`] = id)));
    const invited = this.home.call('fixture.invite', { person: person_id('z1'), name: marker('invitation', 'hidden') });
    await this.home.call('plugin.record', { kind: 'service', id: 'fixture', calls: 1 });
    await this.as.mentor.call('fixture.echo', { text: marker('recording', 'hidden') });
    const echoed = this.as.mentor.call('fixture.echo', { text: marker('idem', 'hidden'), idem: 'k1' });
    const aside = await Watched.open(this.server.url, 'aside', null);
    const agent = `${marker('session', 'hidden')} ${marker('sign_in', 'hidden')}`;
    await aside.call('session.login', { institution: 'home', login: marker('account', 'hidden'), password: 'hamroh-test', agent });
    const { secret, recovery } = await set_up_totp(aside);
    for (const text of [secret, ...recovery]) this.unmarked.set(text, 'factor hidden');
    this.spare.push(aside);
    await this.outgoing();
    const [own, other] = await Promise.all(jobs);
    await Promise.all([opened, invited, echoed, ...awards]);
    this.ids['job own'] = own.job;
    this.ids['job other'] = other.job;
    const [audits, versions] = await Promise.all([
      this.home.call('audit.list'), this.home.call('plugin.history', { kind: 'service', id: 'homely' }),
    ]);
    this.ids['audit all'] = audits.items.find((r) => r.data.why === marker('audit', 'all')).id;
    this.ids['plugin_version all'] = versions.items[0].version;
  }

  // Notifications, contacts, and what leaves.
  async outgoing() {
    const other = await this.connection('aside', 'other_mentee');
    this.spare.push(other);
    for (const [which, client] of [['own', this.as.mentee], ['other', other]]) {
      const told = await this.home.call('fixture.notify', { person: person_id(sides[which].mentee), text: marker('notification', which) });
      const { id } = await client.call('contact.set', { channel: 'email', address: `SEALED-${which}@home.example` });
      const page = await client.call('record.list', { type: 'contact' });
      this.unmarked.set(page.items.find((r) => r.id === id).data.nonce, `contact ${which}`);
      this.ids[`notification ${which}`] = told.id;
      this.ids[`contact ${which}`] = id;
    }
    const { secret } = await this.home.call('webhook.set', { name: 'kept', url: `http://127.0.0.1:1/${marker('webhook', 'hidden')}` });
    this.unmarked.set(secret, 'webhook hidden');
    await this.home.call('fixture.hook', { name: 'kept', text: marker('outgoing', 'hidden') });
  }

  // A record of its own for one call. Written with the others by flush().
  fresh(type, which, more, audience) {
    const id = type === 'activity_entry' ? `${more.activity}:${person_id(sides[which].mentor)}` : `${type}-${which}-${this.next++}`;
    const made = record(type, which, id, this.of, more);
    this.waiting.push(audience ? { ...made, audience } : made);
    return made.id;
  }
  async flush() {
    const records = this.waiting.splice(0);
    for (let at = 0; at < records.length; at += 400) await this.home.call('fixture.put', { records: records.slice(at, at + 400) });
  }

  async stop() {
    for (const client of [...Object.values(this.as ?? {}), ...this.spare]) client?.close();
    await this.server.stop();
  }
}
