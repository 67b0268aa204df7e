// Texts behind the lines `## later` and `## plugins` of the language files. It is loaded with the parts that need them, never at first.
import { add_texts, type Sources } from './texts';

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
