// A copy of the institution now, which ones there are, and how one is restored (which is a command: it happens without a server).
import { useState } from 'preact/hooks';
import type { BackupRow } from '../../client/api';
import { RpcError } from '../../client/rpc';
import { call, toast, words } from '../../store/app';
import { moment, number, t } from '../../store/texts';
import { Act, Empty, Loaded, Title, useLoad } from '../kit';
import { Tabs } from './tabs';

const PATIENCE = 600_000; // gigabytes are copied and read again for their sums

function size(bytes: number): string {
  return bytes < 1e6 ? t('kilobytes', { n: number(bytes / 1e3, 0) }) : t('megabytes', { n: number(bytes / 1e6, 1) });
}

function problem_of(error: unknown): string {
  if (!(error instanceof RpcError)) return words(error);
  if (error.data?.reason === 'backup_runs') return t('backup-runs');
  // The folder cannot be made or written: it is the setting that helps, and the server's own words name it.
  if (error.code === -32009 || error.code === -32603) return t('backup-failed', { message: error.message });
  return words(error);
}

export function Backup() {
  const made = useLoad(() => call<{ items: BackupRow[] }>('backup.list'), []);
  const [problem, set_problem] = useState('');
  const make = async (): Promise<void> => {
    set_problem('');
    try {
      const { name } = await call<{ name: string }>('backup.create', {}, PATIENCE);
      toast.value = { text: t('backup-made', { name }) };
      made.again();
    } catch (error) {
      set_problem(problem_of(error));
    }
  };
  return (
    <>
      <Title note={t('backup-note')}>{t('backup')}</Title>
      <Tabs here="backup" />
      <section class="card" aria-labelledby="backups">
        <h2 id="backups">{t('backup-last')}</h2>
        <Loaded of={made} rows={1}>
          {({ items }) =>
            items.length ? (
              <ul class="plain-list entries">
                {items.slice(0, 5).map((b) => (
                  <li key={b.set + b.name}>
                    <b>{moment(b.made)}</b>
                    <span>{size(b.bytes)}</span>
                    <small>
                      <code>
                        {b.set}/{b.name}
                      </code>
                    </small>
                  </li>
                ))}
              </ul>
            ) : (
              <Empty title={t('backup-none')}>
                <p>{t('backup-none-hint')}</p>
              </Empty>
            )
          }
        </Loaded>
        <p class="problem" role="alert">
          {problem}
        </p>
        <div class="foot">
          <Act class="primary" do={make}>
            {t('backup-make')}
          </Act>
        </div>
      </section>
      <section class="card" aria-labelledby="restore">
        <h2 id="restore">{t('restore')}</h2>
        <p>{t('restore-note')}</p>
        <pre class="command" tabIndex={0} aria-label={t('restore')}>
          <code>hamroh restore --from SETS --key server.key --data NEW_DIR</code>
        </pre>
        <ul class="facts">
          <li>{t('restore-key')}</li>
          <li>{t('restore-until')}</li>
          <li>{t('restore-daily')}</li>
        </ul>
        <pre class="command" tabIndex={0} aria-label={t('restore-daily')}>
          <code>hamroh backup --data DIR --to SETS</code>
        </pre>
      </section>
    </>
  );
}
