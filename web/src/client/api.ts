// Shapes of what the server gives, as the protocol and plugins/services declare them. Types only.

export type Language = 'uz' | 'uz-Cyrl' | 'ru' | 'en';
/** A text in all languages, or one that needs none. */
export type Translated = string | { [code in Language]?: string };

export interface Envelope<T> {
  type: string;
  id: string;
  version: number;
  created: number;
  updated: number;
  by: string | null;
  audience: string[];
  members: string[];
  data: T;
}
export interface Page<T> {
  items: Envelope<T>[];
  cursor: string | null;
  epoch: string;
  seq: number;
}
export interface Presence {
  online: string[];
  visible: boolean;
}
export interface SignedIn {
  token: string;
  expires: number;
  person: string | null;
  name?: string;
  login?: string;
  roles: string[];
  principals: string[];
  institution: string;
  locale?: Language;
  /** A second factor must be set up before anything else. */
  need?: 'totp';
  /** How many recovery codes are left, when one of them was used. */
  recovery_left?: number;
}
export interface SessionRow {
  id: string;
  created: number;
  seen: number;
  expires: number;
  agent?: string;
  current: boolean;
}
export interface SessionList {
  items: SessionRow[];
  totp: { on: boolean; since?: number; recovery_left?: number };
}
export interface PastSignIn {
  time: number;
  outcome: 'in' | 'failed' | 'code' | 'password' | 'totp_on' | 'totp_off' | 'totp_renew' | 'totp_reset' | 'out';
  agent?: string;
  network?: string;
}
export interface AccountRow {
  id: string;
  login: string;
  person: string;
  roles: string[];
  state: 'active' | 'closed';
  demo?: boolean;
  created: number;
  /** There is a second factor. */
  totp: boolean;
}
export interface AuditEntry {
  who: string;
  whose: string;
  type: string;
  id: string;
  field: string;
  why: string;
  time: number;
}
export interface Erased {
  person: string;
  /** Backup sets in which the key is destroyed, too. */
  sets: number;
  /** Those that could not be reached. */
  missing: string[];
}
export interface BackupRow {
  set: string;
  name: string;
  made: number;
  bytes: number;
}
export interface FeedEvent {
  seq: number;
  time: number;
  type: string;
  id: string;
  action: 'created' | 'updated' | 'deleted';
  by: string | null;
  record?: Envelope<unknown>;
}
export interface Job {
  id?: string;
  state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
  progress?: number;
  note?: string;
  result?: unknown;
  error?: { message?: string };
}

export interface Person {
  name: string;
  external_id?: string;
  kind: 'student' | 'staff';
  year?: number;
  group?: string;
  faculty?: string;
  gender?: 'f' | 'm';
  gpa?: number;
  languages?: string[];
  interests?: string[];
  strengths?: string[];
  needs?: string[];
  /** Hours of the week, Monday 00:00 is 0. */
  availability?: number[];
  mentoring?: { capacity?: number; status?: 'active' | 'off' };
  gender_preference?: 'same' | 'any';
  status?: string;
  erased?: number;
}
export interface Reason {
  key?: string;
  name?: string;
  points?: number;
  text?: Translated;
  args?: Record<string, unknown>;
}
export interface Pair {
  programme?: string;
  mentor: string;
  mentee: string;
  mentor_name: string;
  mentee_name: string;
  state: 'requested' | 'active' | 'ended';
  reasons?: Reason[];
  starts?: number;
  due?: number;
  held?: number;
  answers?: Record<string, string>;
}
export interface Message {
  to: string;
  from: string;
  text: string;
  sent: number;
}
export interface Meeting {
  pair: string;
  starts: number;
  minutes: number;
  place?: string;
  online?: string;
  topic?: string;
  state: 'proposed' | 'accepted' | 'declined' | 'held' | 'no_show' | 'cancelled';
  proposed_by?: string;
}
export interface Slot {
  starts: number;
  minutes: number;
  weekend: boolean;
}
export interface Programme {
  title: Translated;
  term: string;
  starts: number;
  ends: number;
  rule?: string;
  questionnaires?: { id: string; moment: string }[];
  state?: string;
}
export interface Proposal {
  programme?: string;
  rule: string;
  rule_version?: string;
  state: 'draft' | 'approved' | 'discarded';
  matched: number;
  unmatched: { mentee: string; name: string; why: Reason }[];
  summary: { mentees: number; mentors: number; seats: number; matched: number; worst?: number; median?: number };
  options?: { weights?: Record<string, number> };
  made?: number;
}
export interface ProposalPair {
  proposal: string;
  mentee: string;
  mentor: string;
  mentee_name: string;
  mentor_name: string;
  points: number;
  reasons: Reason[];
  locked?: boolean;
  source?: 'rule' | 'hand';
}
export interface Rule {
  id: string;
  title: Translated;
  form?: string;
  version?: string;
  criteria: { name: string; op?: string; points: number; title?: Translated; text?: Translated }[];
}
export interface Candidate {
  mentor: string;
  name: string;
  points: number;
  free: number;
  reasons: Reason[];
}
export interface Mentor {
  person: string;
  name: string;
  year?: number;
  faculty?: string;
  free: number;
  languages: string[];
  interests: string[];
  strengths: string[];
}
export interface Today {
  key: string;
  text: Translated;
  label?: Translated;
  urgent: boolean;
  due?: number;
  action: { screen: string; id?: string };
}
export interface QuestionnaireRow {
  id: string;
  title: Translated;
  minutes?: number;
  due: { programme?: string; moment: string; due?: number }[];
  done: { programme?: string; moment: string; taken: number }[];
}
export interface Option {
  value: unknown;
  text: Translated;
}
export interface Item {
  id: string;
  type: 'likert' | 'choice' | 'number' | 'text';
  text: Translated;
  note?: Translated;
  options: Option[];
  min?: number;
  max?: number;
  required: boolean;
}
export interface Questionnaire {
  id: string;
  title: Translated;
  intro?: Translated;
  stem?: Translated;
  source?: string;
  minutes?: number;
  sensitive: boolean;
  items: Item[];
  pages: string[][];
}
export interface Submitted {
  result?: Translated;
  scores?: Record<string, number>;
}
export interface RosterReport {
  columns: string[];
  total: number;
  outside?: number;
  created: number;
  updated: number;
  unchanged: number;
  skipped: { line: number; reason: string; text?: Translated; detail?: unknown }[];
  warnings: { text?: Translated; message?: string }[];
  sample?: { line: number; person: Person; state?: string; measures?: { name: string; moment: string; value: number }[] }[];
}
export interface Moments {
  mean: number;
  sd: number;
}
export interface ReportGroup {
  name: string;
  title?: Translated;
  n: number;
  before?: Moments;
  after?: Moments;
  change?: { mean: number; low: number; high: number };
  d_av?: number;
  d_z?: number;
  hidden?: unknown;
}
export interface Report {
  report: string;
  title?: Translated;
  version?: string;
  groups: ReportGroup[];
  difference?: { mean: number; low: number; high: number; g?: number };
  sentences: { key: string; text?: Translated }[];
  hidden?: { text?: Translated };
}

export interface Notification {
  person: string;
  key: string;
  text: Translated;
  action?: string;
  urgent: boolean;
  safe: boolean;
  unread: boolean;
  created: number;
  read?: number;
}
export interface Contact {
  id: string;
  channel: 'email' | 'telegram';
  verified: number | null;
  wants: string[];
  quiet?: { from: number; to: number };
  locale: Language;
  created: number;
  refused?: number;
}
export interface ContactList {
  items: Contact[];
  channels: { email: boolean; telegram: boolean };
}
