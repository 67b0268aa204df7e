// Builds web/dist: the shell, one script with a chunk per language, the style, the service worker; everything also as .gz, which
// the server sends as it is. Fails when the first load is more than its budget.
import { build, transform } from 'esbuild';
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

// x.ftl is what stands before the line `## later`, x.ftl?later what stands behind it, x.ftl?plugins what is behind `## plugins`.
const texts = {
  name: 'texts',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.ftl$/ }, ({ path: file, suffix }) => {
      const source = readFileSync(file, 'utf8');
      const [rest, plugins = ''] = source.split(/^## plugins.*$/m);
      const [now, later = ''] = rest.split(/^## later.*$/m);
      return { contents: { '?later': later, '?plugins': plugins }[suffix] ?? now, loader: 'text' };
    }),
};
// x.css?sheet is the text of a style sheet that a part brings along.
const sheets = {
  name: 'sheets',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.css$/ }, async ({ path: file, suffix }) =>
      suffix === '?sheet' ? { contents: (await transform(readFileSync(file, 'utf8'), { loader: 'css', minify: true, charset: 'utf8' })).code, loader: 'text' } : undefined,
    ),
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
  plugins: [texts, sheets],
  loader: { '.lua': 'text' },
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

// The editor is large and for few: it is cached when somebody opens it, not by everybody's first visit.
const apart = names.filter((n) => Object.keys(n.inputs).some((file) => /node_modules\/@(codemirror|lezer)\//.test(file)));
const shell = ['/', ...names.filter((n) => !apart.includes(n)).map((n) => '/' + n.file), '/icon.svg', '/manifest.webmanifest'];
const later = apart.map((n) => '/' + n.file);
const version = createHash('sha256').update(html).update([...shell, ...later].join()).digest('hex').slice(0, 12);
await build({
  ...common,
  entryPoints: { sw: 'src/sw.js' },
  outdir: 'dist',
  format: 'iife',
  define: { SHELL: JSON.stringify(shell), LATER: JSON.stringify(later), VERSION: JSON.stringify(version) },
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
console.log(`first load ${first} bytes, ${(first / 1024).toFixed(1)} KB of ${BUDGET / 1024} KB compressed; ${readdirSync(dist).length} files, ${(readdirSync(dist).reduce((s, f) => s + statSync(path.join(dist, f)).size, 0) / 1024).toFixed(0)} KB in all`);
const early = apart.filter((n) => along.has(n.file));
if (early.length) {
  console.error(`the editor is in the first load: ${early.map((n) => n.file).join(', ')}`);
  process.exit(1);
}
if (first > BUDGET) {
  console.error('the first load is over its budget');
  process.exit(1);
}
