// The editor itself: CodeMirror with Lua, loaded only where a plugin is shown. It lives in a shadow root, since the styles that
// CodeMirror makes as it runs come as constructed sheets there, which a strict policy (no inline styles) allows.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, startCompletion, type Completion, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab, redo, toggleComment, undo } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, StreamLanguage, syntaxHighlighting, syntaxTree } from '@codemirror/language';
import { lua } from '@codemirror/legacy-modes/mode/lua';
import { lintGutter, lintKeymap, setDiagnostics, type Diagnostic } from '@codemirror/lint';
import { openSearchPanel, search, searchKeymap, highlightSelectionMatches } from '@codemirror/search';
import { Compartment, EditorState, type Extension, type Transaction } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import type { Offers } from './complete';

export interface Mark {
  line: number;
  message: string;
  warning?: boolean;
}
export interface Wishes {
  label: string;
  source: string;
  read_only: boolean;
  phrases: Record<string, string>;
  changed(source: string): void;
  offers(before: string, text: string, asked: boolean): Offers | null;
}
export interface Editor {
  source(): string;
  /** Another text, as one step that can be undone; fresh: as a new beginning. */
  replace(source: string, fresh?: boolean): void;
  read_only(yes: boolean): void;
  /** Redraws what is said in the reader's language. */
  say(label: string, phrases: Record<string, string>): void;
  mark(marks: Mark[]): void;
  go(line: number): void;
  focus(): void;
  undo(): void;
  redo(): void;
  find(): void;
  complete(): void;
  comment(): void;
  insert(text: string): void;
  close(): void;
}

// Colours are the page's own, which have a dark scheme; they come into the shadow root as custom properties.
const look = EditorView.theme({
  '&': { color: 'var(--ink)', backgroundColor: 'var(--sheet)', fontSize: '0.9375rem', height: '100%' },
  '&.cm-focused': { outline: 'none' }, // the host shows it
  '.cm-scroller': { fontFamily: 'ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace', lineHeight: '1.55', overflow: 'auto' },
  '.cm-content': { caretColor: 'var(--ink)', padding: '8px 0' },
  '.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--ink)', borderLeftWidth: '2px' },
  '.cm-gutters': { backgroundColor: 'var(--paper)', color: 'var(--soft)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine': { backgroundColor: 'var(--code-line)' },
  '.cm-activeLineGutter': { backgroundColor: 'var(--accent-soft)', color: 'var(--ink)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--code-chosen)' },
  '.cm-selectionMatch': { backgroundColor: 'var(--gold-soft)' },
  '.cm-searchMatch': { backgroundColor: 'var(--gold-soft)', outline: '1px solid var(--gold)' },
  '.cm-searchMatch-selected': { backgroundColor: 'var(--accent-soft)' },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--accent-soft)', outline: '1px solid var(--accent)' },
  '.cm-panels': { backgroundColor: 'var(--paper)', color: 'var(--ink)', borderColor: 'var(--line)' },
  '.cm-panel.cm-search': { padding: '8px 40px 8px 8px', fontSize: '0.9375rem', display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: '4px 8px' },
  '.cm-panel.cm-search br': { display: 'none' },
  '.cm-panel.cm-search [name=close]': { width: '36px', height: '36px', fontSize: '1.25rem', color: 'var(--accent)', cursor: 'pointer' },
  '.cm-textfield': { font: 'inherit', minHeight: '36px', padding: '4px 8px', border: '1px solid var(--soft)', borderRadius: '8px', backgroundColor: 'var(--sheet)', color: 'var(--ink)' },
  '.cm-button': { font: 'inherit', minHeight: '36px', padding: '4px 12px', border: '1px solid var(--line)', borderRadius: '8px', background: 'var(--sheet)', color: 'var(--accent)', fontWeight: '600' },
  '.cm-panel.cm-search label': { fontSize: '0.9375rem', minHeight: '36px', display: 'inline-flex', alignItems: 'center', gap: '4px' },
  '.cm-tooltip': { backgroundColor: 'var(--sheet)', color: 'var(--ink)', border: '1px solid var(--line)', borderRadius: '8px', boxShadow: '0 4px 16px rgb(0 0 0 / 18%)', maxWidth: 'min(92vw, 560px)' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'inherit', fontSize: '0.875rem', maxHeight: '15em' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '6px 8px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--accent-ink)' },
  '.cm-completionDetail': { fontStyle: 'normal', opacity: '0.85' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
  '.cm-tooltip.cm-completionInfo': { padding: '8px 12px', fontSize: '0.875rem', maxWidth: '320px', whiteSpace: 'pre-line' },
  '.cm-diagnostic': { padding: '6px 10px', fontSize: '0.9375rem', borderLeftColor: 'var(--urgent)', whiteSpace: 'pre-wrap' },
  '.cm-line.cm-problem': { backgroundColor: 'var(--urgent-soft)' },
  '.cm-lintRange-error': { backgroundImage: 'none', textDecoration: 'underline wavy var(--urgent) 1px', textUnderlineOffset: '3px' },
  '.cm-lintRange-warning': { backgroundImage: 'none', textDecoration: 'underline wavy var(--gold) 1px', textUnderlineOffset: '3px' },
  '.cm-diagnostic-warning': { borderLeftColor: 'var(--gold)' },
  '.cm-lint-marker-warning': { content: 'none', backgroundColor: 'var(--gold)', borderRadius: '2px' },
  '.cm-lint-marker': { width: '0.9em', height: '0.9em', cursor: 'help' },
  '.cm-lint-marker-error': { content: 'none', backgroundColor: 'var(--urgent)', borderRadius: '50%' },
});
const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--code-word)', fontWeight: '600' },
  { tag: tags.string, color: 'var(--code-text)' },
  { tag: tags.comment, color: 'var(--soft)', fontStyle: 'italic' },
  { tag: tags.number, color: 'var(--code-number)' },
  { tag: [tags.atom, tags.bool, tags.null], color: 'var(--code-number)' },
  { tag: tags.standard(tags.variableName), color: 'var(--code-name)' },
]);

/**
 * Typing over several lines, done here: left to the browser, it would put styles into the lines that it joins, which our policy
 * forbids and says so in the console.
 */
function type_over(event: InputEvent, view: EditorView): boolean {
  const { from, to } = view.state.selection.main;
  const text = event.data;
  if (event.inputType !== 'insertText' || !text || event.isComposing || view.state.readOnly) return false;
  if (view.state.doc.lineAt(from).number === view.state.doc.lineAt(to).number) return false;
  event.preventDefault();
  const insert = (): Transaction => view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true });
  if (!view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, text, insert))) view.dispatch(insert());
  return true;
}

function completion(wishes: Wishes): (context: CompletionContext) => CompletionResult | null {
  return (context) => {
    // Nothing is offered inside of texts and comments.
    const inside = syntaxTree(context.state).resolveInner(context.pos, -1).name;
    if (/string|comment/i.test(inside)) return null;
    const line = context.state.doc.lineAt(context.pos);
    const found = wishes.offers(line.text.slice(0, context.pos - line.from), context.state.doc.toString(), context.explicit);
    if (!found || !found.items.length) return null;
    const types: Record<string, string> = { module: 'namespace', name: 'variable', constructor: 'class' };
    const options = found.items.map((o): Completion => ({ label: o.label, type: types[o.kind] ?? o.kind, ...(o.detail ? { detail: o.detail } : {}), ...(o.info ? { info: o.info } : {}), boost: o.kind === 'name' ? -1 : o.kind === 'constructor' ? 1 : 0 }));
    return { from: line.from + found.from, options, validFor: /^\w*$/ };
  };
}

export function open_editor(host: HTMLElement, wishes: Wishes): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  const reading = new Compartment();
  const speech = new Compartment();
  const may_write = (no: boolean): Extension => (no ? [EditorState.readOnly.of(true), EditorView.editable.of(false)] : []);
  const spoken = (label: string, phrases: Record<string, string>): Extension => [
    EditorState.phrases.of(phrases),
    EditorView.contentAttributes.of({ 'aria-label': label, tabindex: '0', autocapitalize: 'off', autocorrect: 'off', spellcheck: 'false', lang: 'en' }),
  ];
  const config = (source: string, no: boolean): EditorState =>
    EditorState.create({
      doc: source,
      extensions: [
        lineNumbers(),
        lintGutter(),
        highlightActiveLineGutter(),
        highlightActiveLine(),
        history(),
        drawSelection(),
        indentOnInput(),
        indentUnit.of('  '),
        EditorState.tabSize.of(2),
        bracketMatching(),
        closeBrackets(),
        highlightSelectionMatches(),
        search({ top: true }),
        autocompletion({ override: [completion(wishes)], icons: false }),
        StreamLanguage.define(lua),
        syntaxHighlighting(colours),
        EditorView.lineWrapping,
        look,
        reading.of(may_write(no)),
        speech.of(spoken(wishes.label, wishes.phrases)),
        keymap.of([
          ...closeBracketsKeymap,
          ...completionKeymap,
          // Tab indents, which would keep one in here for ever: Escape frees it until something is typed or clicked.
          { key: 'Escape', run: (view) => (view.setTabFocusMode(true), false) },
          ...searchKeymap,
          ...lintKeymap,
          ...historyKeymap,
          ...defaultKeymap,
          indentWithTab,
        ]),
        EditorView.domEventHandlers({ beforeinput: type_over, blur: (_, view) => void view.setTabFocusMode(false), pointerdown: (_, view) => void view.setTabFocusMode(false) }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          update.view.setTabFocusMode(false);
          wishes.changed(update.state.doc.toString());
        }),
      ],
    });
  const view = new EditorView({ parent: root, root, state: config(wishes.source, wishes.read_only) });
  let writable = !wishes.read_only;
  let { label, phrases } = wishes;
  const diagnostic = (mark: Mark): Diagnostic => {
    const line = view.state.doc.line(Math.min(Math.max(1, mark.line), view.state.doc.lines));
    const lead = line.text.length - line.text.trimStart().length;
    return { from: line.from + (lead < line.length ? lead : 0), to: line.to, severity: mark.warning ? 'warning' : 'error', message: mark.message };
  };
  return {
    source: () => view.state.doc.toString(),
    replace: (source, fresh) => {
      if (fresh) {
        view.setState(config(source, !writable));
        view.dispatch({ effects: speech.reconfigure(spoken(label, phrases)) });
      } else view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: source } });
    },
    read_only: (yes) => {
      writable = !yes;
      view.dispatch({ effects: reading.reconfigure(may_write(yes)) });
    },
    say: (now, words) => {
      [label, phrases] = [now, words];
      view.dispatch({ effects: speech.reconfigure(spoken(label, phrases)) });
    },
    mark: (marks) => view.dispatch(setDiagnostics(view.state, marks.map(diagnostic))),
    go: (line) => {
      const at = view.state.doc.line(Math.min(Math.max(1, line), view.state.doc.lines));
      view.dispatch({ selection: { anchor: at.from }, effects: EditorView.scrollIntoView(at.from, { y: 'center' }) });
      view.focus();
    },
    focus: () => view.focus(),
    undo: () => (undo(view), view.focus()),
    redo: () => (redo(view), view.focus()),
    find: () => void openSearchPanel(view),
    complete: () => (view.focus(), void startCompletion(view)),
    comment: () => (toggleComment(view), view.focus()),
    insert: (text) => {
      view.dispatch(view.state.replaceSelection(text));
      view.focus();
    },
    close: () => view.destroy(),
  };
}
