// Somebody else put another version in force while one was writing: who, when, why, what they changed, and the two ways on.
import { call } from '../../store/app';
import { moment, t } from '../../store/texts';
import { Loaded, useLoad } from '../kit';
import { in_force } from './deploy';
import { DiffView } from './diff_view';
import { can } from './methods';
import { useNames } from './names';
import type { Hunk, Kind, Source } from './types';

interface Props {
  kind: Kind;
  id: string;
  base: string | null;
  /** Changes with every event, so that the newest is shown. */
  round: number;
  take: (got: Source | null, version: string | null) => void;
  keep: (got: Source | null, version: string | null) => void;
}
export function Meanwhile({ kind, id, base, round, take, keep }: Props) {
  const theirs = useLoad(async () => {
    const now = await in_force(kind, id);
    let hunks: Hunk[] | null = null;
    if (can('plugin.diff') && (base || now.got))
      hunks = await call<{ hunks: Hunk[] }>('plugin.diff', { kind, id, ...(base ? { from: base } : {}), to: now.version ?? now.got?.layer ?? 'shipped' }).then(
        (d) => d.hunks,
        () => null,
      );
    return { ...now, hunks };
  }, [kind, id, base, round]);
  const name = useNames([theirs.value?.got?.by]);
  return (
    <section class="card meanwhile" aria-labelledby="meanwhile" role="alert">
      <h2 id="meanwhile">{t('plugin-meanwhile')}</h2>
      <Loaded of={theirs} rows={1}>
        {({ got, version, hunks }) => (
          <>
            <p>{version ? t('plugin-meanwhile-who', { name: name(got?.by), time: got?.time ? moment(got.time) : '' }) : t('plugin-meanwhile-removed')}</p>
            {got?.note && <blockquote>{got.note}</blockquote>}
            {hunks && (
              <details open>
                <summary>{t('plugin-meanwhile-what')}</summary>
                <DiffView hunks={hunks} label={t('plugin-meanwhile-what')} />
              </details>
            )}
            <p class="note">{t('plugin-meanwhile-note')}</p>
            <div class="foot">
              <button type="button" onClick={() => take(got, version)}>
                {t('plugin-meanwhile-take')}
              </button>
              <button type="button" onClick={() => keep(got, version)}>
                {t('plugin-meanwhile-keep')}
              </button>
            </div>
          </>
        )}
      </Loaded>
    </section>
  );
}
