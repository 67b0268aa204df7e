import { language, languages, use_language } from '../store/texts';
import { t } from '../store/texts';
import type { Language } from '../client/api';

export function Languages() {
  return (
    <label class="field">
      <span>{t('language')}</span>
      <select value={language.value} onChange={(e) => void use_language(e.currentTarget.value as Language)}>
        {languages.map((l) => (
          <option key={l.code} value={l.code} lang={l.tag}>
            {l.name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The thin ikat band, our one ornament. */
export function Ikat() {
  return (
    <svg class="ikat" viewBox="0 0 240 16" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      <defs>
        <pattern id="ikat" width="48" height="16" patternUnits="userSpaceOnUse">
          <rect width="48" height="16" class="ikat-ground" />
          <path class="ikat-a" d="M0 8 6 2l2 3 4-5 4 5 2-3 6 6-6 6-2-3-4 5-4-5-2 3z" />
          <path class="ikat-b" d="m8 8 4-5 4 5-4 5z" />
          <path class="ikat-c" d="M24 8l4-3 2 2 6-7 6 7 2-2 4 3-4 3-2-2-6 7-6-7-2 2z" />
          <path class="ikat-b" d="m33 8 3-4 3 4-3 4z" />
        </pattern>
      </defs>
      <rect width="100%" height="16" fill="url(#ikat)" />
    </svg>
  );
}
