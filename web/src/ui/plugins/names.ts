// Names of those who wrote versions, asked for one by one: they are few.
import { useEffect } from 'preact/hooks';
import type { Envelope, Person } from '../../client/api';
import { call, keep_records, records } from '../../store/app';
import { t } from '../../store/texts';

const asked = new Set<string>();
export function useNames(ids: (string | undefined | null)[]): (id: string | undefined | null) => string {
  const people = records<Person>('person');
  const wanted = [...new Set(ids)].filter((id): id is string => !!id && /^[0-9a-f-]{36}$/.test(id));
  useEffect(() => {
    for (const id of wanted) {
      if (people.has(id) || asked.has(id)) continue;
      asked.add(id);
      call<Envelope<Person>>('record.get', { type: 'person', id }).then(
        (record) => keep_records([record]),
        () => undefined,
      );
    }
  }, [wanted.join()]);
  return (id) => (id ? people.get(id)?.data.name ?? (/^[0-9a-f-]{36}$/.test(id) ? t('plugin-by-somebody') : t('plugin-by-machine')) : t('plugin-by-machine'));
}
