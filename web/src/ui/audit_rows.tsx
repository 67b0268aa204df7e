// Entries of the audit in words: what was done, by whom, about whom, why, when.
import { useEffect } from 'preact/hooks';
import type { AuditEntry, Envelope, Person } from '../client/api';
import { call, is_admin, keep_records, records } from '../store/app';
import { to } from '../store/route';
import { moment, t } from '../store/texts';

const asked = new Set<string>();
/** Reads the persons that are not known yet, a few at a time; who may not be read stays without a name. */
async function ask(ids: string[]): Promise<void> {
  const wanted = [...new Set(ids)].filter((id) => id && !asked.has(id) && !records<Person>('person').has(id));
  for (const id of wanted) asked.add(id);
  for (let i = 0; i < wanted.length; i += 8) {
    const got = await Promise.all(wanted.slice(i, i + 8).map((id) => call<Envelope<Person>>('record.get', { type: 'person', id }).catch(() => (asked.delete(id), undefined))));
    keep_records(got.filter((p) => p !== undefined));
  }
}

function Name({ id }: { id: string }) {
  const person = records<Person>('person').get(id);
  if (!id) return <>{t('audit-machine')}</>;
  const name = person ? (person.data.erased ? t('erased-person') : person.data.name) : t('audit-somebody', { id: id.slice(-6) });
  return is_admin.value ? <a href={to('admin', 'person', id)}>{name}</a> : <>{name}</>;
}

const fields: Record<string, string> = { 'questionnaire_result.answers': 'audit-answers', 'questionnaire_result.private': 'audit-private' };

function told({ type, field, why }: AuditEntry): { what: string; why: string } {
  if (type === 'person' && !field && why.startsWith('erase: ')) return { what: t('audit-erased'), why: why.slice(7) };
  if (type === 'person' && !field && why === 'export') return { what: t('audit-exported'), why: '' };
  if (type === 'account' && field === 'totp') return { what: t('audit-reset'), why: '' };
  const known = fields[`${type}.${field}`];
  return { what: t('audit-opened', { what: known ? t(known) : `${type}.${field}` }), why: why === 'export' ? t('audit-by-export') : why };
}

export function AuditRows({ items, whose }: { items: AuditEntry[]; whose: boolean }) {
  useEffect(() => void ask(items.flatMap((e) => [e.who, e.whose])), [items]);
  return (
    <ul class="plain-list entries">
      {items.map((e, i) => {
        const { what, why } = told(e);
        return (
          <li key={`${e.time}-${i}`}>
            <b>{what}</b>
            <dl>
              <dt>{t('audit-who')}</dt>
              <dd>
                <Name id={e.who} />
              </dd>
              {whose && (
                <>
                  <dt>{t('audit-whose')}</dt>
                  <dd>
                    <Name id={e.whose} />
                  </dd>
                </>
              )}
              {why && (
                <>
                  <dt>{t('reason')}</dt>
                  <dd>{why}</dd>
                </>
              )}
            </dl>
            <small>{moment(e.time)}</small>
          </li>
        );
      })}
    </ul>
  );
}
