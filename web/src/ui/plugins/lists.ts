// Lists that the panels beside the editor show, put in order. Logic only.
import type { ChangedPair, LogLine, WhatIf } from './types';

/** Everybody for whom something changes, those who lose most first. */
export function changes(result: WhatIf): { pair: ChangedPair; change: number }[] {
  const all = [...(result.lost ?? []), ...result.changed, ...(result.gained ?? [])];
  // By the new rule, if it says what the pair of now comes to: points of two rules cannot be compared otherwise.
  const change = (p: ChangedPair): number => (p.to ? (p.to_points ?? 0) : 0) - (p.to ? (p.from_points_now ?? (p.from_why ? 0 : p.from_points) ?? 0) : (p.from_points ?? 0));
  return all.map((pair) => ({ pair, change: change(pair) })).sort((x, y) => x.change - y.change);
}
/** Lines of both, each once, as they were said. */
export function merged(before: LogLine[], more: LogLine[], most = 500): LogLine[] {
  const known = new Set(before.map((l) => l.number).filter((n) => n !== undefined));
  const all = [...before, ...more.filter((l) => l.number === undefined || !known.has(l.number))];
  return all.sort((a, b) => a.time - b.time || (a.number ?? 0) - (b.number ?? 0)).slice(-most);
}

