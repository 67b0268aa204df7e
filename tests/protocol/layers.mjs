// For the tests of versions and layers: a folder of shipped plugins that a test may change, and small services.
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const plugins = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../plugins');

// A copy of the shipped plugins. write(file, source): source null takes the file away.
export function shipped_copy() {
  const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-plugins-'));
  cpSync(plugins, dir, { recursive: true });
  return {
    dir,
    write: (file, source) => (source === null ? rmSync(path.join(dir, file)) : writeFileSync(path.join(dir, file), source)),
    drop: () => rmSync(dir, { recursive: true, force: true }),
  };
}

// service ID with a method ID.say that answers with the word.
export const says = (id, word, more = '') => `
return service {
  id = "${id}",
  methods = { ["${id}.say"] = { summary = "says a word", access = "signed_in", run = function() return "${word}" end } },
  ${more}
}
`;

// The same on top of what is below: "below, word".
export const says_more = (id, word) => `
local base = inherit()
local below = base.methods["${id}.say"].run
base.methods["${id}.say"].run = function(ctx, p) return below(ctx, p) .. ", ${word}" end
return base
`;

// The processes that are children of this one and work for a folder DATA/institutions/ID.
export function workers(pid, institution) {
  const found = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const parent = /^PPid:\t(\d+)/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'));
      const words = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      if (Number(parent?.[1]) === pid && words[1] === 'worker' && words[2].endsWith(`/${institution}`)) found.push(Number(entry));
    } catch {
      // it has ended meanwhile
    }
  }
  return found;
}
