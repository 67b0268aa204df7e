// Builds web/dist: the shell, one script with a chunk per language, the style, the service worker; everything also as .gz, which
// the server sends as it is. Fails when the first load is more than its budget.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const dist = path.join(root, 'dist');
const BUDGET = 60 * 1024; // compressed bytes before the first screen, one language included

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });

// x.ftl is what stands before the line `## later`, x.ftl?later what stands behind it.
const texts = {
  name: 'texts',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.ftl$/ }, ({ path: file, suffix }) => {
      const [now, later = ''] = readFileSync(file, 'utf8').split(/^## later.*$/m);
      return { contents: suffix ? later : now, loader: 'text' };
    }),
};

const common = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  target: ['es2022'],
  charset: 'utf8', // escaped, Cyrillic is larger, compressed too
  legalComments: 'none',
  logLevel: 'warning',
};
const result = await build({
  ...common,
  entryPoints: { app: 'src/main.tsx', style: 'src/style/app.css' },
  outdir: 'dist',
  format: 'esm',
  splitting: true,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  plugins: [texts],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  metafile: true,
});

const names = Object.entries(result.metafile.outputs).map(([file, about]) => ({ file: path.basename(file), ...about }));
const entry = (source) => names.find((n) => n.entryPoint === source).file;
const script = entry('src/main.tsx');
const style = entry('src/style/app.css');

cpSync(path.join(root, 'static'), dist, { recursive: true });
const html = readFileSync(path.join(root, 'static/index.html'), 'utf8').replace('app.js', script).replace('app.css', style);
writeFileSync(path.join(dist, 'index.html'), html);

const shell = ['/', ...names.map((n) => '/' + n.file), '/icon.svg', '/manifest.webmanifest'];
const version = createHash('sha256').update(html).update(shell.join()).digest('hex').slice(0, 12);
await build({
  ...common,
  entryPoints: { sw: 'src/sw.js' },
  outdir: 'dist',
  format: 'iife',
  define: { SHELL: JSON.stringify(shell), VERSION: JSON.stringify(version) },
});

const packed = (file) => gzipSync(readFileSync(path.join(dist, file)), { level: 9 });
for (const file of readdirSync(dist))
  if (/\.(js|css|html|svg|webmanifest)$/.test(file)) writeFileSync(path.join(dist, file + '.gz'), packed(file));

const languages = names.filter((n) => /i18n/.test(n.entryPoint ?? ''));
const largest = Math.max(0, ...languages.map((n) => packed(n.file).length));
// What the script brings along with itself; what is imported when it is needed loads apart.
const along = new Set([script, style]);
for (const file of along)
  for (const { path: wanted, kind } of names.find((n) => n.file === file).imports) if (kind === 'import-statement') along.add(path.basename(wanted));
const chunks = [...along].reduce((sum, file) => sum + packed(file).length, 0);
const first = chunks + largest + packed('index.html').length;
console.log(`first load ${(first / 1024).toFixed(1)} KB of ${BUDGET / 1024} KB compressed; ${readdirSync(dist).length} files, ${(readdirSync(dist).reduce((s, f) => s + statSync(path.join(dist, f)).size, 0) / 1024).toFixed(0)} KB in all`);
if (first > BUDGET) {
  console.error('the first load is over its budget');
  process.exit(1);
}
