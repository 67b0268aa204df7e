// Unit tests of the client's logic: bundles test/*.test.ts for Node and runs them with its test runner.
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const out = mkdtempSync(path.join(tmpdir(), 'hamroh-web-'));
const tests = readdirSync(path.join(root, 'test')).filter((f) => f.endsWith('.test.ts'));
await build({
  absWorkingDir: root,
  entryPoints: tests.map((f) => 'test/' + f),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  loader: { '.ftl': 'text', '.lua': 'text', '.css': 'text' },
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
});
const { status } = spawnSync(process.execPath, ['--test', ...readdirSync(out).map((f) => path.join(out, f))], { stdio: 'inherit' });
rmSync(out, { recursive: true, force: true });
process.exit(status ?? 1);
