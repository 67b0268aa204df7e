// The versions of a plugin in this layer, the newest first: who, when, why; what each changed; the way back.
import { useEffect, useState } from 'preact/hooks';
import { RpcError } from '../../client/rpc';
import { call, toast, words } from '../../store/app';
import { moment, t } from '../../store/texts';
import { Act, Dialog, Empty, Loaded, useLoad } from '../kit';
import { problems_in } from './check';
import { lost_in, Lossy } from './deploy';
import { DiffView } from './diff_view';
import { Problems } from './list';
import { can, takes } from './methods';
import { useNames } from './names';
import type { Hunk, Kind, Problem, Source, Version } from './types';

const FIRST = 10;

function Difference({ params, label }: { params: Record<string, unknown>; label: string }) {
  const diff = useLoad(() => call<{ hunks: Hunk[] }>('plugin.diff', params), [JSON.stringify(params)]);
  return (
    <Loaded of={diff} rows={1}>
      {({ hunks }) => <DiffView hunks={hunks} label={label} />}
    </Loaded>
  );
}

interface BackProps {
  kind: Kind;
  id: string;
  /** null: to the layer below. */
  version: Version | null;
  dirty: boolean;
  close: () => void;
  done: () => void;
}
function Back({ kind, id, version, dirty, close, done }: BackProps) {
  const [problem, set_problem] = useState('');
  const [problems, set_problems] = useState<Problem[]>([]);
  const [lost, set_lost] = useState<string[] | null>(null);
  const [sure, set_sure] = useState(false);
  const go = async (): Promise<void> => {
    set_problem('');
    set_problems([]);
    try {
      await call('plugin.rollback', { kind, id, ...(version ? { version: version.version } : takes('plugin.deploy', 'expects') ? { version: 'below' } : {}), ...(lost ? { confirm: true } : {}), idem: crypto.randomUUID() }, 120_000);
      toast.value = { text: t(version ? 'plugin-back-done' : 'plugin-back-below-done') };
      done();
      close();
    } catch (error) {
      const found = problems_in(error);
      const losses = lost_in(error);
      if (losses) return set_lost(losses);
      if (found) set_problems(found);
      set_problem(found ? t('plugin-back-refused') : error instanceof RpcError && error.data?.reason === 'deploying' ? t('plugin-deploying') : words(error));
    }
  };
  return (
    <Dialog title={t(version ? 'plugin-back-title' : 'plugin-back-below')} close={close}>
      <p>{version ? t('plugin-back-what', { time: moment(version.time) }) : t('plugin-back-below-what')}</p>
      {dirty && <p class="note">{t('plugin-back-draft')}</p>}
      {lost && <Lossy lost={lost} sure={sure} set={set_sure} />}
      <p class="problem" role="alert">
        {problem}
      </p>
      {problems.length > 0 && <Problems items={problems} />}
      <div class="foot">
        <Act class={lost ? 'primary danger' : 'primary'} disabled={!!lost && !sure} do={go}>
          {t(version ? 'plugin-back-do' : 'plugin-back-below')}
        </Act>
        <button type="button" class="plain" onClick={close}>
          {t('plugin-deploy-not')}
        </button>
      </div>
    </Dialog>
  );
}

interface Props {
  kind: Kind;
  id: string;
  round: number;
  source: string;
  dirty: boolean;
  /** The layer below has it, too: one can go back to that. */
  below: boolean;
  took: (source: string) => void;
  changed: () => void;
}
export function History({ kind, id, round, source, dirty, below, took, changed }: Props) {
  const versions = useLoad(() => call<{ items: Version[] }>('plugin.history', { kind, id }), [kind, id, round]);
  const [back, set_back] = useState<Version | null | undefined>();
  const [shown, set_shown] = useState(FIRST);
  const [open, set_open] = useState<string | null>(null);
  const [mine, set_mine] = useState<string | null>(null); // the text as it was when it was compared
  useEffect(() => set_open(null), [round]);
  const name = useNames((versions.value?.items ?? []).slice(0, shown).map((v) => v.by));
  const diffs = can('plugin.diff');
  const take = async (v: Version): Promise<void> => {
    try {
      took((await call<Source>('plugin.get', { kind, id, version: v.version })).source);
    } catch (error) {
      toast.value = { text: words(error), urgent: true };
    }
  };
  return (
    <Loaded of={versions} rows={3}>
      {({ items }) => {
        const active = items.find((v) => v.active);
        const oldest = items[items.length - 1];
        return (
          <>
            {diffs && dirty && (active || below) && (
              <div class="mine">
                <button type="button" aria-expanded={mine !== null} onClick={() => set_mine(mine === null ? source : null)}>
                  {t('plugin-diff-mine')}
                </button>
                {mine !== null && mine !== source && (
                  <button type="button" class="plain" onClick={() => set_mine(source)}>
                    {t('plugin-diff-again')}
                  </button>
                )}
                {mine !== null && <Difference params={{ kind, id, ...(active ? { from: active.version } : {}), source: mine }} label={t('plugin-diff-mine')} />}
              </div>
            )}
            {items.length === 0 && (
              <Empty title={t('plugin-history-none')}>
                <p>{t('plugin-history-none-hint')}</p>
              </Empty>
            )}
            <ol class="plain-list versions">
              {items.slice(0, shown).map((v, i) => {
                const before = items[i + 1];
                // Without "from" it is compared with the layer below.
                const from = before ? { from: before.version } : below ? {} : null;
                return (
                  <li key={v.version} class={v.active ? 'version active' : 'version'}>
                    <p>
                      <b>{moment(v.time)}</b> <span class="note">{name(v.by)}</span>
                    </p>
                    <p class="marks">
                      {v.active && <span class="state approved">{t('plugin-in-force')}</span>}
                      {v.state === 'returned' && <span class="state broken-mark">{t('plugin-state-returned')}</span>}
                    </p>
                    <p class={v.note ? 'version-note' : 'note'}>{v.note || t('plugin-no-note')}</p>
                    <div class="foot">
                      {diffs && from && (
                        <button type="button" aria-expanded={open === v.version} onClick={() => set_open(open === v.version ? null : v.version)}>
                          {t('plugin-compare')}
                        </button>
                      )}
                      {!v.active && (
                        <button type="button" onClick={() => set_back(v)}>
                          {t('plugin-back')}
                        </button>
                      )}
                      <Act class="plain" do={() => take(v)}>
                        {t('plugin-take')}
                      </Act>
                    </div>
                    {open === v.version && from && <Difference params={{ kind, id, ...from, to: v.version }} label={t('plugin-compare-label', { time: moment(v.time) })} />}
                  </li>
                );
              })}
            </ol>
            {items.length > shown && (
              <button type="button" onClick={() => set_shown(shown + 50)}>
                {t('show-more', { count: items.length - shown })}
              </button>
            )}
            {active && below && (active === oldest || takes('plugin.deploy', 'expects')) && (
              <div class="foot">
                <button type="button" onClick={() => set_back(null)}>
                  {t('plugin-back-below')}
                </button>
              </div>
            )}
            {back !== undefined && <Back kind={kind} id={id} version={back} dirty={dirty} close={() => set_back(undefined)} done={changed} />}
          </>
        );
      }}
    </Loaded>
  );
}
