// The server's methods and records as this client uses them. Written from the contract; `npm run types` makes the full list of
// a running server (src/generated/api.ts) to compare with. Types only.

export type Translated = string | { en?: string; uz?: string; 'uz-Cyrl'?: string; ru?: string };
export interface Said {
  key: string;
  args?: Record<string, unknown>;
  text: Translated;
}

/** A record with its envelope, as record.get, record.list and the feed give it. */
export interface Rec<D = Record<string, unknown>> {
  type: string;
  id: string;
  version: number;
  created: number;
  updated: number;
  by: string | null;
  data: D;
}

export interface Session {
  token: string;
  expires: number;
  person: string | null;
  name?: string;
  roles: string[];
  principals: string[];
  institution: string;
  locale?: string;
  login?: string;
}
export interface Institution {
  id: string;
  title: Translated;
  zone?: number | string;
  zone_minutes?: number;
}
export interface SessionItem {
  id: string;
  agent?: string;
  created: number;
  seen?: number;
  current?: boolean;
}

export interface Person {
  name: string;
  external_id?: string;
  kind: 'student' | 'staff';
  year?: number;
  group?: string;
  faculty?: string;
  languages?: string[];
  interests?: string[];
  strengths?: string[];
  needs?: string[];
  gpa?: number;
  availability?: number[];
  mentoring?: { capacity?: number; status?: string };
  gender_preference?: string;
  status?: string;
}
export type PairState = 'requested' | 'active' | 'ended';
export interface Pair {
  programme?: string;
  mentor: string;
  mentee: string;
  mentor_name: string;
  mentee_name: string;
  state: PairState;
  rule?: string;
  reasons?: Reason[];
  starts?: number;
  due?: number;
  answers?: Record<string, unknown>;
}
export interface Message {
  to: string;
  from: string;
  text: string;
  sent: number;
}
export type MeetingState = 'proposed' | 'accepted' | 'declined' | 'held' | 'no_show' | 'cancelled';
export interface Meeting {
  pair: string;
  starts: number;
  minutes?: number;
  place?: string;
  online?: boolean | string;
  state: MeetingState;
  proposed_by: string;
  topic?: string;
}
export interface Slot {
  starts: number;
  minutes: number;
  weekend: boolean;
}
export interface Programme {
  title: Translated;
  term?: string;
  purpose?: Translated;
  starts?: number;
  ends?: number;
  rule?: string;
  state?: string;
}
export interface Measure {
  person: string;
  name: string;
  moment: string;
  value: number;
  max: number;
}

export interface Reason extends Said {
  points: number;
}
export interface Proposal {
  programme: string;
  rule: string;
  rule_version?: string;
  state: 'draft' | 'approved' | 'discarded';
  matched: number;
  unmatched: { mentee: string; name: string; why: Said }[];
  summary: { mentees: number; mentors: number; seats: number; matched: number; worst?: number; median?: number };
  options?: { weights?: Record<string, number> };
  made: number;
}
export interface ProposalPair {
  proposal: string;
  mentee: string;
  mentor: string | null;
  mentee_name: string;
  mentor_name: string;
  points: number;
  reasons: Reason[];
  locked?: boolean;
  source: 'rule' | 'hand';
}
export interface Rule {
  id: string;
  title: Translated;
  form?: string;
  version?: string;
  criteria: { name: string; op: string; points: number; title?: Translated }[];
}
export interface Candidate {
  mentor: string;
  name: string;
  mentor_name?: string;
  points: number;
  reasons: Reason[];
  free: number;
}

export interface Mentor {
  person: string;
  name: string;
  year?: number;
  faculty?: string;
  free: number;
  languages?: (string | Translated)[];
  interests?: (string | Translated)[];
  strengths?: (string | Translated)[];
}

export interface QItem {
  id: string;
  type: 'likert' | 'choice' | 'number' | 'text';
  text: Translated;
  note?: Translated;
  required?: boolean;
  scale?: { min: number; max: number; options: { value: number; text: Translated }[] };
  options?: { value: string | number; text: Translated }[];
  many?: boolean;
  min?: number;
  max?: number;
  whole?: boolean;
  unit?: Translated;
  lines?: number;
}
export interface Questionnaire {
  id: string;
  title: Translated;
  minutes?: number;
  intro?: Translated;
  stem?: Translated;
  source?: string;
  sensitive?: boolean;
  items: QItem[];
  pages?: string[][];
  version?: string;
}
export interface QListItem {
  id: string;
  title: Translated;
  minutes?: number;
  items?: number;
  due?: { programme?: string; moment: string }[];
  done?: { moment: string; taken: number }[];
}
export type Answer = string | number | (string | number)[] | null;

export interface TodayItem {
  key: string;
  args?: Record<string, unknown>;
  text: Translated;
  urgent?: boolean;
  due?: number;
  action?: { screen: string; id?: string };
  label?: Translated;
}
export interface Overview {
  people?: number;
  mentees?: number;
  mentors?: number;
  answered?: { before?: number; after?: number };
  pairs?: { requested?: number; active?: number; ended?: number };
  meetings?: Record<string, number>;
  silent?: { pair: string; mentor_name: string; mentee_name: string; days: number }[];
  messages?: number;
}

export interface RosterMap {
  separator?: string;
  where?: Record<string, string>;
  key?: Record<string, unknown>;
  person: Record<string, unknown>;
  measures?: Record<string, unknown>[];
}
export interface RosterReport {
  columns?: string[];
  sample?: { line: number; person: Record<string, unknown>; measures?: Measure[] }[];
  total: number;
  created: number;
  updated: number;
  unchanged: number;
  outside?: number;
  skipped: { line: number; reason: string; detail?: string; text?: Translated }[];
  warnings?: ({ line?: number; reason?: string; detail?: string; text?: Translated } | string)[];
}
export interface Code {
  person: string;
  name: string;
  code: string;
  login?: string;
}

export interface Estimate {
  mean: number;
  low: number;
  high: number;
}
export interface ReportGroup {
  name: string;
  title?: Translated;
  n: number;
  before?: { mean: number; sd: number };
  after?: { mean: number; sd: number };
  change?: Estimate;
  d_av?: number;
  d_z?: number;
  hidden?: boolean | Said;
}
export interface ReportResult {
  report: string;
  title: Translated;
  version?: string;
  groups: ReportGroup[];
  difference?: Estimate & { g?: number };
  sentences: Said[];
  hidden?: Said | Said[];
}
export interface ReportInfo {
  id: string;
  title: Translated;
  params?: unknown;
  measures?: (string | { id: string; title?: Translated })[];
}

export interface JobData {
  method: string;
  state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
  progress?: number;
  note?: string;
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
  by?: string;
  started?: number;
  ended?: number;
}

export interface ListParams {
  type: string;
  index?: string;
  equals?: unknown[];
  order?: 'asc' | 'desc';
  limit?: number;
  cursor?: string;
}
export interface ListResult {
  items: Rec[];
  cursor: string | null;
  epoch?: string;
  seq?: number;
}
export interface FeedEvent {
  seq: number;
  time: number;
  type: string;
  id: string;
  action: 'created' | 'updated' | 'deleted';
  by: string | null;
  record?: Rec;
}

type M<P, R> = { params: P; result: R };
type None = Record<string, never>;
/** Method name → params and result. */
export interface Api {
  'institution.list': M<None, { items: Institution[] } | Institution[]>;
  'server.info': M<None, { version: string; languages?: string[] }>;
  'session.login': M<{ institution: string; login: string; password: string }, Session>;
  'session.accept': M<{ institution: string; code: string; login: string; password: string }, Session>;
  'session.resume': M<{ token: string }, Session>;
  'session.logout': M<None, unknown>;
  'session.list': M<None, { items: SessionItem[] }>;
  'session.revoke': M<{ id: string }, unknown>;
  'session.change_password': M<{ old: string; new: string }, unknown>;
  'record.get': M<{ type: string; id: string }, Rec>;
  'record.list': M<ListParams, ListResult>;
  'record.count': M<Omit<ListParams, 'limit' | 'cursor'>, { count: number }>;
  'feed.open': M<{ after?: { epoch: string; seq: number }; types?: string[] }, { epoch: string; seq: number; recovered: boolean }>;
  'job.get': M<{ id: string }, JobData | Rec<JobData>>;
  'job.cancel': M<{ id: string }, unknown>;
  'person.me': M<None, { person: Rec<Person> | null; account?: { login: string; roles: string[] }; pairs?: Rec<Pair>[]; unread?: number }>;
  'person.update': M<{ person?: string } & Partial<Person>, unknown>;
  'person.invite': M<{ person: string; roles?: string[] }, Code>;
  'person.invite_many': M<{ group?: string; persons?: string[] }, { items: Code[] }>;
  'roster.preview': M<{ csv: string; map: RosterMap }, RosterReport>;
  'roster.apply': M<{ csv: string; map: RosterMap }, { job: string }>;
  'programme.create': M<{ title: Translated; term?: string; starts?: number; ends?: number; rule?: string }, { id?: string; programme?: string }>;
  'programme.overview': M<{ programme: string }, Overview>;
  'questionnaire.list': M<None, { items: QListItem[] }>;
  'questionnaire.get': M<{ questionnaire: string }, Questionnaire>;
  'questionnaire.submit': M<
    { questionnaire: string; programme?: string; moment?: string; answers: Record<string, Answer> },
    { result?: Translated; scores?: Record<string, number>; bands?: Record<string, Translated> }
  >;
  'match.rules': M<None, { items: Rule[] }>;
  'match.run': M<{ programme: string; rule: string; options?: { weights?: Record<string, number> } }, { job: string }>;
  'match.change': M<{ proposal: string; mentee: string; mentor: string | null; locked?: boolean }, unknown>;
  'match.approve': M<{ proposal: string }, { pairs: number }>;
  'match.discard': M<{ proposal: string }, unknown>;
  'match.candidates': M<{ proposal: string; mentee: string }, { items: Candidate[] } | Candidate[]>;
  'pair.mentors': M<None, { items: Mentor[] } | Mentor[]>;
  'pair.request': M<{ mentor: string; programme?: string }, unknown>;
  'pair.respond': M<{ pair: string; accept: boolean }, unknown>;
  'pair.answer': M<{ pair: string; fits: 'fits' | 'unsure' | 'no' }, unknown>;
  'pair.end': M<{ pair: string; reason?: string }, unknown>;
  'message.send': M<{ to: string; text: string }, { id: string; sent: number }>;
  'meeting.slots': M<{ pair: string; days?: number; minutes?: number }, { slots: Slot[] }>;
  'meeting.propose': M<{ pair: string; starts: number; minutes?: number; place?: string; online?: boolean; topic?: string }, unknown>;
  'meeting.answer': M<{ meeting: string; accept: boolean }, unknown>;
  'meeting.log': M<{ meeting: string; outcome: 'held' | 'no_show'; topic?: string }, unknown>;
  'meeting.cancel': M<{ meeting: string }, unknown>;
  'report.list': M<None, { items: ReportInfo[] } | ReportInfo[]>;
  'report.run': M<{ report: string; params: Record<string, unknown> }, ReportResult>;
  'today.list': M<None, { items: TodayItem[] }>;
}
export type Method = keyof Api;
export type Params<K extends Method> = Api[K]['params'];
export type Result<K extends Method> = Api[K]['result'];

/** Some lists come bare, some as {items}. */
export function items<T>(list: { items: T[] } | T[]): T[] {
  return Array.isArray(list) ? list : (list.items ?? []);
}
