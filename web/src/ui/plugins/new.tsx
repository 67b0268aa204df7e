// A new plugin: its kind and its name; the rest is a template that loads as it is.
import { useState } from 'preact/hooks';
import { go } from '../../store/route';
import { t } from '../../store/texts';
import { Act, Dialog } from '../kit';
import { keep_draft } from './drafts';
import { id_of, is_id } from './source';
import { kinds, template } from './templates';
import type { Kind, PluginRow } from './types';

export function New({ taken, close }: { taken: PluginRow[]; close: () => void }) {
  const [kind, set_kind] = useState<Kind>('matcher');
  const [name, set_name] = useState('');
  const [problem, set_problem] = useState('');
  const id = id_of(name);
  const make = async (): Promise<void> => {
    if (!is_id(id)) return set_problem(t('plugin-id-wrong'));
    if (taken.some((row) => row.kind === kind && row.id === id)) return set_problem(t('plugin-id-taken'));
    await keep_draft({ kind, id, source: template(kind, id), version: null, base: '' });
    close();
    go('admin', 'plugins', kind, id);
  };
  return (
    <Dialog title={t('plugin-new')} close={close}>
      <form class="stack">
        <label class="field">
          <span>{t('plugin-kind')}</span>
          <select value={kind} onChange={(e) => set_kind(e.currentTarget.value as Kind)}>
            {kinds.map((k) => (
              <option key={k} value={k}>
                {t(`kind-${k}`)}
              </option>
            ))}
          </select>
        </label>
        <p class="note">{t(`kind-note-${kind}`)}</p>
        <label class="field">
          <span>{t('plugin-id')}</span>
          <input value={name} autocomplete="off" autocapitalize="off" spellcheck={false} onInput={(e) => (set_name(e.currentTarget.value), set_problem(''))} />
        </label>
        <p class="note">{id && id !== name ? t('plugin-id-becomes', { id }) : t('plugin-id-note')}</p>
        <p class="problem" role="alert">
          {problem}
        </p>
        <div class="foot">
          <Act type="submit" class="primary" do={make}>
            {t('plugin-begin')}
          </Act>
        </div>
      </form>
    </Dialog>
  );
}
