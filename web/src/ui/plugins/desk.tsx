// The desk: layers, the editor with its tools, and beside it what the server says of the text, trials, versions and the live log. What
// always holds: the text is kept as a draft on this device until it is in force or thrown away.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { on_event, toast } from '../../store/app';
import { language, t } from '../../store/texts';
import { Broken, Icon, Skeleton } from '../kit';
import { useCheck } from './check';
import { offers, type Api } from './complete';
import { Deploy, type Deployed } from './deploy';
import { drop_draft, keep_draft, type Draft } from './drafts';
import type { Editor } from './editor';
import { History } from './history';
import { Leave } from './leave';
import { own_layer, Problems } from './list';
import { Log } from './log';
import { Meanwhile } from './meanwhile';
import { can } from './methods';
import { own } from './source';
import { override } from './templates';
import { Try } from './try';
import type { Kind, Layer, PluginRow, Problem, Source, TestRow } from './types';
import { WhatIfPanel } from './what_if';

interface Props {
  kind: Kind;
  id: string;
  row: PluginRow | undefined;
  got: Source | null;
  /** Of this layer, that is in force. */
  version: string | null;
  draft: Draft | undefined;
  api: Api | null;
  layers: Layer[];
  again: () => void;
}

function Layers({ layers, inForce }: { layers: Layer[]; inForce: Layer | undefined }) {
  const all: Layer[] = own_layer() === 'cluster' ? ['shipped', 'cluster'] : ['shipped', 'cluster', 'institution'];
  return (
    <ol class="layers" aria-label={t('plugin-layers')}>
      {all.map((layer) => {
        const there = layers.includes(layer);
        const now = layer === inForce;
        return (
          <li key={layer} class={now ? 'now' : there ? 'there' : 'not'}>
            <b>{t(`layer-${layer}`)}</b>
            <small>{t(now ? 'plugin-in-force' : there ? 'plugin-overridden' : 'plugin-not-there')}</small>
          </li>
        );
      })}
    </ol>
  );
}

function Tests({ tests, go }: { tests: TestRow[]; go: (line: number) => void }) {
  if (!tests.length) return <p class="note">{t('plugin-tests-none')}</p>;
  return (
    <ul class="plain-list tests">
      {tests.map((test) => (
        <li key={test.name} class={test.ok === true ? 'passed' : test.ok === false ? 'failed' : 'unknown'}>
          <span class="test-mark">{t(test.ok === true ? 'plugin-test-passed' : test.ok === false ? 'plugin-test-failed' : 'plugin-test-unknown')}</span>
          <span>
            {test.name}
            {test.message && <small>{test.message}</small>}
          </span>
          {test.line && (
            <button type="button" class="plain at" onClick={() => go(test.line!)}>
              {t('plugin-line', { line: test.line })}
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}

const phrases = (): Record<string, string> => ({
  Find: t('find'),
  Replace: t('find-replace'),
  next: t('find-next'),
  previous: t('find-previous'),
  all: t('find-all'),
  'match case': t('find-case'),
  regexp: t('find-regexp'),
  'by word': t('find-word'),
  replace: t('find-replace-do'),
  'replace all': t('find-replace-all'),
  close: t('close'),
  'current match': t('find-current'),
  'on line': t('find-on-line'),
  'replaced match on line $': t('find-replaced', { line: '$' }),
  'replaced $ matches': t('find-replaced-all', { count: '$' }),
  'Control character': t('find-control'),
  Diagnostics: t('desk-check'),
  'No diagnostics': t('plugin-good'),
  Completions: t('plugin-complete'),
});

export function Desk(props: Props) {
  const { kind, id, got, api, draft } = props;
  // What this text began from. It changes with a deploy, and when somebody else's is taken.
  const [base, set_base] = useState(() => (draft ? { version: draft.version, text: draft.base } : { version: props.version, text: got?.source ?? '' }));
  const [text, set_text] = useState(draft?.source ?? got?.source ?? '');
  const [writing, set_writing] = useState(!!draft || !!props.version);
  const [overtaken, set_overtaken] = useState(!!draft && draft.version !== props.version ? 1 : 0);
  const [round, set_round] = useState(0);
  const [panel, set_panel] = useState('check');
  const [deploying, set_deploying] = useState(false);
  const [editor, set_editor] = useState<Editor | null>(null);
  const [trouble, set_trouble] = useState<unknown>(null);
  const [attempt, set_attempt] = useState(0);
  const host = useRef<HTMLDivElement>(null);
  const own_deploy = useRef(false);
  const check = useCheck(kind, id);
  const dirty = writing && text !== base.text;
  const now = useRef({ text, base, dirty, writing });
  now.current = { text, base, dirty, writing };
  const label = t('plugin-editor', { id });

  // ---- the editor ----
  useEffect(() => {
    let made: Editor | undefined;
    let gone = false;
    import('./editor').then(
      ({ open_editor }) => {
        if (gone || !host.current) return;
        made = open_editor(host.current, {
          label,
          phrases: phrases(),
          source: now.current.text,
          read_only: !now.current.writing,
          changed: (source) => (set_text(source), check.look(source)),
          offers: (before, whole, asked) => offers(api, kind, before, whole, asked, (need) => t('plugin-need', { need })),
        });
        set_editor(made);
        check.look(now.current.text, true);
      },
      (error: unknown) => !gone && set_trouble(error),
    );
    return () => {
      gone = true;
      made?.close();
    };
  }, [attempt]);
  useEffect(() => editor?.read_only(!writing), [editor, writing]);
  useEffect(() => editor?.say(label, phrases()), [editor, language.value]);
  const checked = check.checked?.source === text ? check.checked : null;
  const problems = check.checked?.problems ?? [];
  const warnings = check.checked?.warnings ?? [];
  useEffect(() => {
    // Marks stay where they are while the next answer is awaited: the editor moves them along with the text.
    if (check.checked && check.checked.source === now.current.text)
      editor?.mark(
        [...check.checked.problems.map((p) => ({ ...p, warning: false })), ...check.checked.warnings.map((p) => ({ ...p, warning: true }))]
          .filter((p) => p.line && own(p, id))
          .map((p) => ({ line: p.line!, message: p.message, warning: p.warning })),
      );
  }, [editor, check.checked]);
  const go = (line: number): void => editor?.go(line);

  // ---- the draft ----
  const save = (): void => {
    const { text: source, base: from, dirty: changed } = now.current;
    if (changed) void keep_draft({ kind, id, source, version: from.version, base: from.text });
    else void drop_draft(kind, id);
  };
  useEffect(() => {
    if (!writing) return;
    const timer = setTimeout(save, 400);
    return () => clearTimeout(timer);
  }, [text, base, writing]);
  const kept = useRef(true); // false: thrown away on purpose
  useEffect(() => {
    const hide = (): void => void (now.current.writing && save());
    addEventListener('pagehide', hide);
    return () => {
      removeEventListener('pagehide', hide);
      if (kept.current) hide();
    };
  }, []);
  const forget = async (): Promise<void> => {
    kept.current = false;
    await drop_draft(kind, id);
  };

  // ---- others ----
  useEffect(
    () =>
      on_event((event) => {
        if (event.type !== 'plugin' || event.id !== `${kind}/${id}` || own_deploy.current) return;
        const active = event.action === 'deleted' ? null : ((event.record?.data as { active?: string } | undefined)?.active ?? null);
        if (active === now.current.base.version) return;
        if (now.current.dirty) set_overtaken((n) => n + 1);
        else props.again();
        set_round((r) => r + 1);
      }),
    [],
  );
  // Read anew with nothing of one's own at stake: shown as it is now.
  useEffect(() => {
    if (now.current.dirty || !editor || !got || got.source === now.current.text) return;
    start(got.source, { version: props.version, text: got.source }, !!props.version, true);
  }, [got]);

  const start = (source: string, from: { version: string | null; text: string }, write: boolean, fresh = false): void => {
    set_base(from);
    set_text(source);
    set_writing(write);
    editor?.replace(source, fresh);
    check.look(source, true);
  };
  const begin = (source: string): void => {
    start(source, { version: null, text: got?.source ?? '' }, true, true);
    editor?.focus();
  };
  /** Back to what is in force, as one step that can be undone. */
  const discard = (): void => {
    const mine = text;
    editor?.replace(base.text);
    set_writing(!!base.version);
    toast.value = {
      text: t('plugin-discarded'),
      undo: () => {
        set_writing(true);
        editor?.replace(mine);
      },
    };
  };
  const deployed = (result: Deployed): void => {
    set_deploying(false);
    set_base({ version: result.version, text });
    set_overtaken(0);
    void drop_draft(kind, id);
    set_round((r) => r + 1);
    props.again();
    toast.value = { text: t('plugin-deployed') };
  };
  const refused = (list: Problem[]): void => {
    set_deploying(false);
    set_panel('check');
    toast.value = { text: t('plugin-refused', { count: list.length }), urgent: true };
    check.look(text, true);
    const first = list.find((p) => p.line && own(p, id));
    if (first) go(first.line!);
  };

  const panels = ['check', ...(can('plugin.try') ? [kind === 'matcher' ? 'what-if' : 'try'] : []), 'history', ...(can('plugin.log_open') || can('plugin.log') ? ['log'] : [])];
  const summary = useMemo(() => {
    if (check.trouble) return check.trouble;
    if (!check.checked) return '';
    if (problems.length) return t('plugin-problems', { count: problems.length });
    return warnings.length ? t('plugin-good-but', { count: warnings.length }) : t('plugin-good');
  }, [check.checked, check.trouble, language.value]);
  const below = props.layers.some((l) => l !== own_layer()) || !!(props.row?.overrides && props.row.layer === own_layer());
  const pick = (event: KeyboardEvent): void => {
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -panels.length, End: panels.length }[event.key];
    if (!move) return;
    event.preventDefault();
    const at = panels.indexOf(panel) + move;
    const next = Math.abs(move) === 1 ? panels[(at + panels.length) % panels.length]! : move < 0 ? panels[0]! : panels[panels.length - 1]!;
    set_panel(next);
    document.getElementById(`desk-tab-${next}`)?.focus();
  };

  return (
    <>
      <Layers layers={props.layers} inForce={props.row?.layer} />
      {!writing && got && (
        <section class="card override" aria-labelledby="override">
          <h2 id="override">{t('plugin-override')}</h2>
          <p>{t('plugin-override-note', { layer: t(`layer-${got.layer}`) })}</p>
          <div class="foot">
            <button type="button" class="primary" disabled={!editor} onClick={() => begin(override(id))}>
              {t('plugin-override-inherit')}
            </button>
            <button type="button" disabled={!editor} onClick={() => begin(got.source)}>
              {t('plugin-override-copy')}
            </button>
          </div>
          <p class="note">{t('plugin-override-which')}</p>
        </section>
      )}
      {overtaken > 0 && (
        <Meanwhile
          kind={kind}
          id={id}
          base={base.version}
          round={overtaken}
          take={(theirs, version) => {
            start(theirs?.source ?? '', { version, text: theirs?.source ?? '' }, !!version);
            set_overtaken(0);
            props.again();
          }}
          keep={(theirs, version) => {
            set_base({ version, text: theirs?.source ?? '' });
            set_overtaken(0);
            props.again();
            editor?.focus();
          }}
        />
      )}
      <div class="desk">
        <section class="desk-editor" aria-labelledby="desk-source">
          <h2 id="desk-source" class="hidden">
            {t('plugin-source')}
          </h2>
          <div class="tools" role="toolbar" aria-label={t('plugin-tools')}>
            {writing && (
              <>
                <button type="button" title={t('plugin-undo')} disabled={!editor} onClick={() => editor?.undo()}>
                  <Icon name="undo" />
                  <span class="label">{t('plugin-undo')}</span>
                </button>
                <button type="button" title={t('plugin-redo')} disabled={!editor} onClick={() => editor?.redo()}>
                  <span class="flip">
                    <Icon name="undo" />
                  </span>
                  <span class="label">{t('plugin-redo')}</span>
                </button>
              </>
            )}
            <button type="button" disabled={!editor} onClick={() => editor?.find()}>
              {t('find')}
            </button>
            {writing && (
              <button type="button" disabled={!editor} onClick={() => editor?.complete()}>
                {t('plugin-complete')}
              </button>
            )}
            <span class="keys">
              {writing &&
                ['{', '}', '(', ')', '"', '=', '_'].map((key) => (
                  <button key={key} type="button" class="key" aria-label={t('plugin-key', { key })} onPointerDown={(e) => e.preventDefault()} onClick={() => editor?.insert(key)}>
                    {key}
                  </button>
                ))}
            </span>
            {writing && (
              <button type="button" class="primary" disabled={!editor || (!dirty && !!base.version)} onClick={() => set_deploying(true)}>
                {t('plugin-deploy')}
              </button>
            )}
          </div>
          <div class="plugin-editor" ref={host} />
          {trouble ? <Broken error={trouble} again={() => (set_trouble(null), set_attempt((n) => n + 1))} /> : !editor && <Skeleton rows={2} />}
          <p class="said-below">
            <span class={problems.length ? 'verdict bad' : checked ? 'verdict good' : 'verdict'} role="status">
              {summary}
            </span>
            <span class="note" aria-hidden="true">
              {check.busy ? t('plugin-checking') : dirty ? t('plugin-kept') : ''}
            </span>
          </p>
          {dirty && base.text !== '' && (
            <div class="foot">
              <button type="button" class="plain" onClick={discard}>
                {t('plugin-discard')}
              </button>
            </div>
          )}
          <details class="help">
            <summary>{t('plugin-keyboard')}</summary>
            <ul>
              <li>{t('plugin-keyboard-tab')}</li>
              <li>{t('plugin-keyboard-complete')}</li>
              <li>{t('plugin-keyboard-find')}</li>
              <li>{t('plugin-keyboard-problems')}</li>
            </ul>
          </details>
        </section>
        <section class="desk-side" aria-label={t('plugin-beside')}>
          <div class="panel-tabs" role="tablist" aria-label={t('plugin-beside')} onKeyDown={pick}>
            {panels.map((name) => (
              <button key={name} id={`desk-tab-${name}`} type="button" role="tab" aria-selected={panel === name} aria-controls={panel === name ? `desk-panel-${name}` : undefined} tabIndex={panel === name ? 0 : -1} onClick={() => set_panel(name)}>
                {t(`desk-${name}`)}
                {name === 'check' && problems.length > 0 && <span class="count">{problems.length}</span>}
              </button>
            ))}
          </div>
          <div id={`desk-panel-${panel}`} class="panel" role="tabpanel" aria-labelledby={`desk-tab-${panel}`} tabIndex={0}>
            {panel === 'check' && (
              <>
                {problems.length > 0 && <Problems items={problems} id={id} go={go} />}
                {check.checked && problems.length === 0 && <p>{t('plugin-good')}</p>}
                {warnings.length > 0 && (
                  <>
                    <h3>{t('plugin-warnings')}</h3>
                    <Problems items={warnings} id={id} go={go} />
                  </>
                )}
                {!check.checked && (check.trouble ? <p class="problem">{check.trouble}</p> : <Skeleton rows={1} />)}
                <h3>{t('plugin-tests')}</h3>
                {check.checked && <Tests tests={check.checked.tests} go={go} />}
              </>
            )}
            {panel === 'what-if' && <WhatIfPanel kind={kind} id={id} source={() => editor?.source() ?? text} go={go} />}
            {panel === 'try' && <Try kind={kind} id={id} source={() => editor?.source() ?? text} text={text} go={go} />}
            {panel === 'history' && (
              <History
                kind={kind}
                id={id}
                round={round}
                source={text}
                dirty={dirty}
                below={below}
                took={(source) => {
                  // Against what is in force now: a version may be older than that.
                  if (!writing) begin(source);
                  else editor?.replace(source);
                  toast.value = { text: t('plugin-taken') };
                }}
                changed={() => {
                  set_round((r) => r + 1);
                  if (dirty) set_overtaken((n) => n + 1);
                  props.again();
                }}
              />
            )}
            {panel === 'log' && <Log kind={kind} id={id} go={go} />}
          </div>
        </section>
      </div>
      {deploying && (
        <Deploy
          kind={kind}
          id={id}
          source={text}
          base={base.version}
          close={() => set_deploying(false)}
          done={deployed}
          refused={refused}
          overtaken={() => (set_deploying(false), set_overtaken((n) => n + 1))}
          under_way={(yes) => (own_deploy.current = yes)}
        />
      )}
      <Leave dirty={() => now.current.dirty} forget={forget} />
    </>
  );
}
