// Who looked at somebody's sealed data, newest first. New entries do not move what one reads: they wait behind a button.
import { useEffect, useState } from 'preact/hooks';
import type { AuditEntry, Page } from '../../client/api';
import { attempt, call, on_event } from '../../store/app';
import { t } from '../../store/texts';
import { AuditRows } from '../audit_rows';
import { Act, Empty, Loaded, Title, useLoad } from '../kit';
import { Tabs } from './tabs';

const PAGE = 30;

/** All entries, or those about one person. */
export function Entries({ whose }: { whose?: string }) {
  const page = (cursor?: string): object => ({ limit: PAGE, ...(whose ? { whose } : {}), ...(cursor ? { cursor } : {}) });
  const [items, set_items] = useState<AuditEntry[]>([]);
  const [cursor, set_cursor] = useState<string | null>(null);
  const [fresh, set_fresh] = useState(0);
  const first = useLoad(async () => {
    const got = await call<Page<AuditEntry>>('audit.list', page());
    set_items(got.items.map((r) => r.data));
    set_cursor(got.cursor);
    set_fresh(0);
    return got;
  }, [whose]);
  const empty = items.length === 0; // then there is nothing that could move
  useEffect(
    () =>
      on_event((e) => {
        if (e.type !== 'audit' || (whose && (e.record?.data as AuditEntry | undefined)?.whose !== whose)) return;
        if (empty) first.again();
        else set_fresh((n) => n + 1);
      }),
    [whose, empty],
  );
  const more = async (): Promise<void> => {
    const got = await attempt<Page<AuditEntry>>('audit.list', page(cursor!));
    if (!got) return;
    set_items((had) => [...had, ...got.items.map((r) => r.data)]);
    set_cursor(got.cursor);
  };
  return (
    <Loaded of={first} rows={4}>
      {() => (
        <>
          <div role="status">
            {fresh > 0 && (
              <button type="button" onClick={first.again}>
                {t('audit-new', { count: fresh })}
              </button>
            )}
          </div>
          {items.length === 0 ? (
            <Empty title={t('audit-empty')}>
              <p>{t('audit-empty-hint')}</p>
            </Empty>
          ) : (
            <AuditRows items={items} whose={!whose} />
          )}
          {cursor && <Act do={more}>{t('audit-more')}</Act>}
        </>
      )}
    </Loaded>
  );
}

export function Audit() {
  return (
    <>
      <Title note={t('audit-note')}>{t('audit')}</Title>
      <Tabs here="audit" />
      <Entries />
    </>
  );
}
