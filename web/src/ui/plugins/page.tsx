// The administrator's plugins: all of them, or one in its editor. Loaded when it is first shown, with its texts and its sheet.
import { route } from '../../store/route';
import sheet from '../../style/plugins.css?sheet';
import { adopt } from '../later';
import { List } from './list';
import { One } from './one';
import { kinds } from './templates';
import type { Kind } from './types';

export { with_plugin_texts } from '../later';

adopt(sheet);

export function Plugins() {
  const [, , kind, id] = route.value;
  if (kind && id && (kinds as string[]).includes(kind)) return <One key={`${kind}/${id}`} kind={kind as Kind} id={id} />;
  return <List />;
}
