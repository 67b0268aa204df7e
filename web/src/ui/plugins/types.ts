// Shapes of plugin.*, as the server gives them. Types only.
import type { Reason, Translated } from '../../client/api';

export type Kind = 'service' | 'matcher' | 'activity' | 'questionnaire' | 'report';
export type Layer = 'shipped' | 'cluster' | 'institution';

export interface PluginRow {
  kind: Kind;
  id: string;
  title?: Translated;
  version: string;
  layer: Layer;
  overrides?: boolean;
  active?: string | null;
  /** broken: left out since it does not load, and what lies below serves. failing: live calls fail on it. */
  state?: 'good' | 'fresh' | 'failing' | 'broken';
  errors?: Problem[];
}
export interface PluginList {
  items: PluginRow[];
  refused?: Problem[];
  /** Why the cluster's newest plugins do not go with those here. */
  behind?: Problem[];
}
export interface Source {
  kind: Kind;
  id: string;
  layer: Layer;
  /** Record id of the version for what is stored, else the first 12 digits of the hash. */
  version: string;
  hash: string;
  source: string;
  note?: string;
  by?: string;
  time?: number;
}
export interface Problem {
  plugin?: string;
  file?: string;
  line?: number;
  message: string;
  path?: string;
}
export interface TestRow {
  name: string;
  ok?: boolean;
  message?: string;
  line?: number;
}
export interface Version {
  version: string;
  hash?: string;
  by?: string;
  time: number;
  note?: string;
  state?: string;
  active: boolean;
}
export interface Hunk {
  /** First line of the hunk in the one and in the other. */
  from: number;
  to: number;
  lines: { op: ' ' | '+' | '-'; text: string }[];
}
export interface Returned {
  kind: string;
  id: string;
  /** Of plugin.failing. */
  version?: string;
  from?: string | null;
  to?: string | null;
  reason?: string;
}
export interface LogLine {
  /** Of all lines of the server: the same line may come in the list and as a notice. */
  number?: number;
  file?: string;
  line?: number;
  /** So many lines before this one were left out, since they came too fast. */
  missed?: number;
  time: number;
  kind?: string;
  id?: string;
  version?: string;
  level: string;
  text: string;
  method?: string;
}
export interface ChangedPair {
  mentee: string;
  mentee_name?: string;
  from?: string | null;
  from_name?: string;
  from_points?: number | null;
  /** What the pair of now comes to by the new rule. */
  from_points_now?: number | null;
  /** Why it may not be by the new rule. */
  from_why?: Reason;
  to?: string | null;
  to_name?: string;
  to_points?: number | null;
  reasons?: Reason[];
  why?: Reason;
}
interface Side {
  matched?: number;
  worst?: number;
  median?: number;
  source?: 'proposal' | 'pairs' | 'none';
}
/** Lists may be cut; the counts are of all. */
export interface WhatIf {
  changed: ChangedPair[];
  gained?: ChangedPair[];
  lost?: ChangedPair[];
  unmatched?: { mentee?: string; name?: string; why?: Reason }[];
  counts?: { changed: number; gained: number; lost: number; unmatched: number; kept?: number };
  before?: Side;
  after?: Side;
}
export interface Tried {
  result?: unknown;
  changes?: unknown[];
  logs?: (LogLine | string)[];
  cpu_ms?: number;
}
