// The params with which each row of methods.txt is called. One entry a method (and variant); t is the target's id, role who asks,
// n a number of its own for every call, w the world, client who calls. What a row needs before the call (a target in another state, a connection of
// its own) stands in `targets` below.
import { password } from '../harness.mjs';
import { marker, person_id, set_up_totp, totp } from './world.mjs';

const DAY = 86400000;
const tiny = 'return service { id = "tiny" }\n';
const csv = (n) => ({ csv: `id,name\nR-${n},Somebody\n`, map: { key: { column: 'id' }, person: { name: { column: 'name' } } } });
const answers = { adaptation: {}, gad7: { g1: 1, g2: 1, g3: 1, g4: 1, g5: 1, g6: 1, g7: 1 } };
const plugin = { kind: 'service', id: 'tiny' };
const programme = { title: 'Winter', term: '2027', starts: Date.now() + DAY, ends: Date.now() + 9 * DAY };

export const calls = {
  'account.create': ({ n }) => ({ login: `made${n}`, password: 'a long enough password', roles: ['student'] }),
  'account.list': () => ({}),
  'account.reset_totp': ({ t }) => ({ account: t }),
  'account.set_roles': ({ t }) => ({ account: t, roles: ['coach'] }),
  'account.set_state': ({ t }) => ({ account: t, state: 'closed' }),
  'account.sign_out': ({ t }) => ({ account: t }),
  'activity.advance': ({ t }) => ({ activity: t }),
  'activity.create': () => ({ kind: 'volunteering', title: 'Books' }),
  'activity.kinds': () => ({}),
  'activity.record': ({ t, which }) => ({ activity: t, person: person_id(which === 'own' ? 'mentor' : 'other_mentor'), values: { hours: 2 } }),
  'activity.register': ({ t }) => ({ activity: t }),
  'activity.register/jury': ({ t }) => ({ activity: t, role: 'organiser' }),
  'audit.list': ({ t }) => (t ? { whose: t } : {}),
  'backup.create': ({ n }) => ({ name: `copy${n}` }),
  'backup.create/to': ({ w, n }) => ({ to: `${w.server.dir}/elsewhere${n}` }),
  'backup.forget': ({ w }) => ({ set: `${w.server.dir}/gone` }),
  'backup.list': () => ({}),
  'clock.advance': () => ({ ms: 1000 }),
  'contact.list': () => ({}),
  'contact.remove': ({ t }) => ({ contact: t }),
  'contact.set': ({ t, n }) => (t ? { contact: t, wants: ['urgent'] } : { channel: 'email', address: `a${n}@home.example` }),
  'contact.verify': ({ t }) => ({ contact: t, code: 'wrong' }),
  'feed.close': () => ({}),
  'feed.open': () => ({}),
  'institution.create': ({ n }) => ({ id: `new${n}`, title: 'New' }),
  'institution.list': () => ({}),
  'job.cancel': ({ t }) => ({ id: t }),
  'job.get': ({ t }) => ({ id: t }),
  'job.list': () => ({}),
  'match.approve': ({ t }) => ({ proposal: t }),
  'match.candidates': ({ t }) => ({ proposal: t, mentee: person_id('z1') }),
  'match.change': ({ t }) => ({ proposal: t, mentee: person_id('z1') }),
  'match.discard': ({ t }) => ({ proposal: t }),
  'match.preview': () => ({ rule: 'successful-unsuccessful' }),
  'match.rules': () => ({}),
  'match.run': ({ t }) => ({ programme: t, rule: 'successful-unsuccessful' }),
  'measure.set': ({ t, n }) => ({ person: t, name: `m${n}`, moment: 'before', value: 1 }),
  'meeting.answer': ({ t }) => ({ meeting: t, accept: true }),
  'meeting.cancel': ({ t }) => ({ meeting: t }),
  'meeting.log': ({ t, type }) => ({ outcome: 'held', ...(type === 'pair' ? { pair: t, starts: Date.now() - DAY } : { meeting: t }) }),
  'meeting.propose': ({ t, n, which }) => ({ pair: t, starts: Date.now() + 100 * DAY + n * 5 * 3600000, topic: marker('meeting', which) }),
  'meeting.slots': ({ t }) => ({ pair: t }),
  'message.import': ({ t }) => ({ messages: [{ to: `pair:${t}`, from: person_id('mentor'), text: 'Salom' }] }),
  'message.send': ({ t, type, which }) => ({ to: `${type}:${t}`, text: type === 'pair' ? marker('message', which) : 'Salom' }),
  'notification.read': ({ t }) => (t ? { ids: [t] } : { all: true }),
  'outgoing.list': () => ({}),
  'outgoing.test': () => ({ channel: 'email', address: 'somebody@home.example' }),
  'pair.answer': ({ t }) => ({ pair: t, fits: 'fits' }),
  'pair.create_many': ({ t }) => ({ pairs: [{ mentor: person_id('listed3'), mentee: t }] }),
  'pair.end': ({ t, role }) => ({ pair: t, ...(role === 'mentee' && { reason: marker('pair_answer', 'own') }) }),
  'pair.mentors': () => ({}),
  'pair.request': ({ t, type, w, n }) =>
    type === 'programme' ? { mentor: person_id('listed2'), programme: t } : { mentor: t, programme: w.programmes[n % w.programmes.length] },
  'pair.request/unknown': () => ({ mentor: person_id('listed2'), programme: 'made-up' }),
  'pair.respond': ({ t }) => ({ pair: t, accept: true }),
  'person.create': ({ n }) => ({ name: `New ${n}` }),
  'person.erase': ({ t }) => ({ person: t, reason: 'asked for it' }),
  'person.export': ({ t }) => (t ? { person: t } : {}),
  'person.invite': ({ t }) => ({ person: t }),
  'person.invite_many': ({ t }) => ({ persons: [t] }),
  'person.me': () => ({}),
  'person.update': ({ t }) => ({ ...(t && { person: t }), interests: ['chess'] }),
  'plugin.api': () => ({}),
  'plugin.check': () => ({ ...plugin, source: tiny }),
  'plugin.deploy': () => ({ ...plugin, source: tiny }),
  'plugin.diff': () => ({ kind: 'service', id: 'pair', from: 'shipped', to: 'shipped' }),
  'plugin.export': () => ({}),
  'plugin.get': () => ({ kind: 'service', id: 'pair' }),
  'plugin.history': () => ({ kind: 'service', id: 'pair' }),
  'plugin.import': () => ({ items: [{ ...plugin, source: tiny }] }),
  'plugin.list': () => ({}),
  'plugin.log': () => ({}),
  'plugin.log_close': () => ({}),
  'plugin.log_open': () => ({}),
  'plugin.react_again': () => ({ kind: 'service', id: 'pair', seq: 1 }),
  'plugin.react_drop': () => ({ kind: 'service', id: 'pair', seq: 1 }),
  'plugin.reactions': () => ({}),
  'plugin.record': () => ({ kind: 'service', id: 'pair', calls: 0 }),
  'plugin.recordings': () => ({}),
  'plugin.replay': () => ({ recording: 'none' }),
  'plugin.rollback': () => plugin,
  'plugin.timers': () => ({}),
  'plugin.try': () => ({ ...plugin, source: tiny.replace('\n', '').replace('}', ', methods = { ["tiny.go"] = { summary = "", access = "signed_in", run = function() return {} end } } }'), method: 'tiny.go' }),
  'presence.list': () => ({}),
  'presence.set': () => ({ visible: false }),
  'programme.create': () => programme,
  'programme.overview': ({ t }) => ({ programme: t }),
  'programme.update': ({ t }) => ({ programme: t, term: '2028' }),
  'questionnaire.get': () => ({ questionnaire: 'gad7' }),
  'questionnaire.list': () => ({}),
  'questionnaire.mine': () => ({}),
  'questionnaire.open': ({ t }) => ({ result: t, why: 'a talk is due' }),
  'questionnaire.preview': () => ({ questionnaire: 'gad7', answers: answers.gad7 }),
  'questionnaire.submit': ({ n }) => ({ questionnaire: 'gad7', moment: `m${n}`, answers: answers.gad7 }),
  'questionnaire.submit/sensitive': ({ t, n }) => ({ questionnaire: 'gad7', moment: `m${n}`, answers: answers.gad7, person: t }),
  'questionnaire.submit/open': ({ t, n }) => ({ questionnaire: 'adaptation', moment: `m${n}`, answers: answers.adaptation, person: t }),
  'record.count': () => ({ type: 'job' }),
  'record.get': ({ t, type }) => ({ type, id: t }),
  'record.list': () => ({ type: 'job' }),
  'report.list': () => ({}),
  'report.run': () => ({ report: 'before-after' }),
  'report.run/sensitive': () => ({ report: 'before-after', params: { measure: 'gad7.GAD7' } }),
  'roster.apply': ({ n }) => csv(n),
  'roster.preview': ({ n }) => csv(n),
  'rpc.discover': () => ({}),
  'server.info': () => ({}),
  'session.accept': ({ w, n }) => ({ institution: 'home', code: w.codes.pop(), login: `invited${n}`, password: 'a long enough password' }),
  'session.accept/wrong': ({ n }) => ({ institution: ['home', 'away', 'nowhere'][n % 3], code: 'AAAA-BBBB-CCCC-DDDD', login: `uninvited${n}`, password: 'a long enough password' }),
  'session.change_password': () => ({ old: password, new: 'short' }),
  'session.change_password/right': () => ({ old: password, new: 'another long password' }),
  'session.history': () => ({}),
  'session.list': () => ({}),
  'session.login': () => ({ institution: 'home', login: 'student', password }),
  'session.logout': () => ({}),
  'session.resume': () => ({ token: 'home.nonsense' }),
  'session.revoke': ({ t }) => ({ id: t }),
  'session.revoke_others': () => ({}),
  'session.totp_begin': () => ({}),
  'session.totp_confirm': () => ({ code: '123456' }),
  'session.totp_confirm/right': async ({ client }) => ({ code: totp((await client.ask('session.totp_begin', {})).result?.secret) }),
  'session.totp_disable': () => ({ password, code: '123456' }),
  'session.totp_disable/right': async ({ client, role }) => ({ password, code: role === 'stranger' ? '123456' : (await set_up_totp(client)).recovery[0] }),
  'session.totp_renew': () => ({ code: '123456' }),
  'session.totp_renew/right': async ({ client, role }) => ({ code: role === 'stranger' ? '123456' : (await set_up_totp(client)).recovery[0] }),
  'today.list': () => ({}),
  'webhook.list': () => ({}),
  'webhook.remove': ({ t }) => ({ name: t }),
  'webhook.set': ({ n }) => ({ name: `hook${n}`, url: 'http://127.0.0.1:1/' }),
  'webhook.test': ({ t }) => ({ name: t }),
};

// Rows whose calls change the connection, or whose answer takes long: a connection of its own, or one row after the other.
export const own_connection = new Set(['feed.close', 'feed.open', 'session.accept', 'session.accept/wrong', 'session.login', 'session.logout', 'session.resume']);
// These change the account of the caller: another one with the same roles makes them.
export const own_account = new Set([
  'presence.set', 'session.change_password/right', 'session.revoke_others', 'session.totp_begin', 'session.totp_confirm/right',
  'session.totp_disable/right', 'session.totp_renew/right',
]);
export const in_turn = new Set(['plugin.check', 'plugin.try', 'plugin.deploy', 'plugin.import', 'plugin.rollback', 'job.cancel', 'backup.create/to', 'person.export', 'contact.set', 'contact.verify']);

// What is different from world.record about the target of a row.
const more = {
  'meeting.answer': (role, which) => ({ proposed_by: person_id(which === 'own' ? (role === 'mentee' ? 'mentor' : 'mentee') : 'other_mentor') }),
  'meeting.log': (role, which, type) => (type === 'meeting' ? { starts: Date.now() - DAY, state: 'accepted' } : {}),
  'pair.respond': () => ({ state: 'requested', due: Date.now() + DAY }),
};

let accounts = 0;
// The target's id. Records are written by world.flush().
export async function target(w, row, role) {
  const { type, which, call } = row;
  if (!type) return undefined;
  if (type === 'account') {
    const login = `target${accounts++}`, { id } = await w.home.account(login, ['student']);
    if (call === 'account.reset_totp') {
      const owner = await w.connection('aside', login);
      w.spare.push(owner);
      await set_up_totp(owner);
    }
    return id;
  }
  if (type === 'session') {
    if (role === 'stranger') return 'a'.repeat(64);
    const client = await w.connection(which === 'self' ? role : 'aside', which === 'self' ? role : 'aside');
    w.spare.push(client);
    return (await client.call('session.list')).items.find((s) => s.current).id;
  }
  if (type === 'job' && call === 'job.cancel')
    return (await (which === 'own' ? w.as.coordinator.call('fixture.forever') : w.home.call('fixture.forever'))).job;
  if (type === 'contact' && call === 'contact.remove' && which === 'own' && role === 'mentee')
    return (await w.as.mentee.call('contact.set', { channel: 'email', address: 'gone@home.example' })).id;
  if (type === 'contact' || type === 'notification') return w.ids[`${type} ${which}`];
  if (type === 'webhook' && call === 'webhook.remove' && role === 'administrator') {
    await w.home.call('webhook.set', { name: 'gone', url: 'http://127.0.0.1:1/' });
    return 'gone';
  }
  if (type === 'webhook') return 'kept';
  if (type === 'job') return w.ids[`job ${which}`];
  if (type === 'person' && which === 'self') return person_id(role);
  if (which === 'listed') return person_id('listed');
  if (type === 'person' && (call.startsWith('person.invite') || call === 'person.erase')) return w.fresh('person', which);
  if (type === 'person') return w.ids[`person ${which}`];
  if (type === 'programme' && call !== 'pair.request') return w.ids['programme all'];
  if (which === 'private') return w.fresh(type, 'own', {}, ['person:' + person_id('mentee')]);
  const id = w.fresh(type, which, more[call]?.(role, which, type));
  if (call === 'activity.record') w.fresh('activity_entry', which, { activity: id });
  return id;
}
