// What /proc says of processes.
import { readdirSync, readFileSync } from 'node:fs';

// A process and its children.
export function family(pid) {
  const parents = new Map();
  for (const name of readdirSync('/proc'))
    if (/^\d+$/.test(name)) {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]));
      } catch {
        // it has ended meanwhile
      }
    }
  const list = [pid];
  for (const one of list) for (const [child, parent] of parents) if (parent === one) list.push(child);
  return list;
}

export const resident = (pid) => 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
