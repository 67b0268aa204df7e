// The administrator's plugins: all of them, or one in its editor. Loaded when it is first shown, with its texts and its sheet.
import { route } from '../../store/route';
import sheet from '../../style/plugins.css?sheet';
import { List } from './list';
import { One } from './one';
import { kinds } from './templates';
import type { Kind } from './types';

export { with_plugin_texts } from '../../store/later';

const made = new CSSStyleSheet();
made.replaceSync(sheet);
document.adoptedStyleSheets = [...document.adoptedStyleSheets, made];

export function Plugins() {
  const [, , kind, id] = route.value;
  if (kind && id && (kinds as string[]).includes(kind)) return <One key={`${kind}/${id}`} kind={kind as Kind} id={id} />;
  return <List />;
}
