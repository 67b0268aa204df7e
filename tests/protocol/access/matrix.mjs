// The tables of who may do and see what, as they stand in methods.txt and records.txt, and the words for answers.
import { readFileSync } from 'node:fs';

const rows_of = (name) =>
  readFileSync(new URL(name, import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.trim() && !line.startsWith('#'))
    .map((line) => line.trim().split(/\s+/));

export const roles = [
  'stranger', 'student', 'mentor', 'mentee', 'coordinator', 'psychologist', 'coach', 'administrator',
  'foreign_admin', 'foreign_student', 'cluster_admin',
];
export const at_home = new Set(roles.slice(1, 8));
export const words = {
  [-32001]: 'unauthenticated', [-32002]: 'forbidden', [-32003]: 'not_found', [-32004]: 'conflict', [-32602]: 'params',
  [-32601]: 'method', [-32005]: 'too_many', [-32006]: 'plugin', [-32009]: 'unavailable', [-32603]: 'internal',
};

function cells(row, from, what, allowed) {
  const out = Object.fromEntries(roles.map((role, i) => [role, row[from + i]]));
  for (const [role, cell] of Object.entries(out)) if (!allowed.has(cell)) throw new Error(`${what}: ${role}: "${cell}" is no answer`);
  return out;
}

// {method, variant, which, type, cells}: which and type are undefined where a row has no target.
export function read_methods() {
  const allowed = new Set(['ok', ...Object.values(words)]);
  return rows_of('methods.txt').map((row) => {
    const target = row[1] === '-' ? [] : row.splice(1, 2);
    const [method, variant] = row[0].split('/');
    const from = target.length ? 1 : 2;
    if (row.length !== from + roles.length) throw new Error(`methods.txt: ${row[0]}: ${row.length - from} answers for ${roles.length} roles`);
    const name = [row[0], ...target].join(' ');
    return { name, call: row[0], method, variant, which: target[0], type: target[1], cells: cells(row, from, name, allowed) };
  });
}

// {type, which, hidden, cells: {role: true|false}, told: Set of "method:role"}
export function read_records() {
  return rows_of('records.txt').map((row) => {
    const name = `${row[0]} ${row[1]}`;
    const seen = cells(row, 2, name, new Set(['yes', 'no']));
    return {
      name, type: row[0], which: row[1], hidden: row[1] === 'hidden', told: new Set((row[2 + roles.length] ?? '').split(',')),
      cells: Object.fromEntries(roles.map((role) => [role, seen[role] === 'yes'])),
    };
  });
}
