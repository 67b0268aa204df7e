// What parts bring along that are loaded when they are first shown: their texts (behind the lines `## later` and `## plugins` of the
// language files) and their style. Constructed sheets are the one kind that a script may make under our policy.
import { add_texts, type Sources } from '../store/texts';
import sheet from '../style/later.css?sheet';

export function adopt(text: string): void {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, made];
}
adopt(sheet);

const later: Sources = {
  uz: () => import('../i18n/uz.ftl?later'),
  'uz-Cyrl': () => import('../i18n/uz-Cyrl.ftl?later'),
  ru: () => import('../i18n/ru.ftl?later'),
  en: () => import('../i18n/en.ftl?later'),
};
const plugins: Sources = {
  uz: () => import('../i18n/uz.ftl?plugins'),
  'uz-Cyrl': () => import('../i18n/uz-Cyrl.ftl?plugins'),
  ru: () => import('../i18n/ru.ftl?plugins'),
  en: () => import('../i18n/en.ftl?plugins'),
};

/** The part, when its texts are there. */
export async function with_texts<T>(part: T): Promise<T> {
  await add_texts(later);
  return part;
}
export async function with_plugin_texts<T>(part: T): Promise<T> {
  await add_texts(later); // of which it needs a few
  await add_texts(plugins);
  return part;
}
