// People of the institution: search, invitations, and the import of a roster with a preview before anything is written.
import { useMemo, useState } from 'preact/hooks';
import type { Envelope, Job, Person, RosterReport } from '../../client/api';
import { decode, fields, guess, header, map_of, type RosterMap } from '../../client/decode';
import { attempt, call, is_admin, is_staff, keep_records, list_all, records, run_job, toast, words } from '../../store/app';
import { to } from '../../store/route';
import { fold, number, say, t } from '../../store/texts';
import { Act, Codes, Dialog, Empty, Face, Loaded, Title, useLoad, type Code } from '../kit';

function Report({ report, applied }: { report: RosterReport; applied: boolean }) {
  return (
    <>
      <p class="figures">
        <span>
          <b>{number(report.created)}</b> {t('import-created')}
        </span>
        <span>
          <b>{number(report.updated)}</b> {t('import-updated')}
        </span>
        <span>
          <b>{number(report.unchanged)}</b> {t('import-unchanged')}
        </span>
        <span>
          <b>{number(report.skipped.length)}</b> {t('import-skipped')}
        </span>
      </p>
      {report.outside ? <p class="note">{t('import-outside', { count: report.outside })}</p> : null}
      {report.warnings.map((w, i) => (
        <p key={i} class="note">
          {say(w.text) || w.message}
        </p>
      ))}
      {report.skipped.length > 0 && (
        <details open={report.skipped.length < 10}>
          <summary>{t('import-skipped-lines')}</summary>
          <table class="table">
            <thead>
              <tr>
                <th scope="col">{t('line')}</th>
                <th scope="col">{t('reason')}</th>
              </tr>
            </thead>
            <tbody>
              {report.skipped.slice(0, 500).map((s) => (
                <tr key={s.line}>
                  <td>{s.line}</td>
                  <td>{say(s.text) || s.reason}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
      {!applied && report.sample && report.sample.length > 0 && (
        <details open>
          <summary>{t('import-sample')}</summary>
          <div class="wide-table" tabIndex={0} role="region" aria-label={t('import-sample')}>
            <table class="table">
              <thead>
                <tr>
                  <th scope="col">{t('line')}</th>
                  <th scope="col">{t('field-name')}</th>
                  <th scope="col">{t('field-group')}</th>
                  <th scope="col">{t('field-gpa')}</th>
                </tr>
              </thead>
              <tbody>
                {report.sample.map((s) => (
                  <tr key={s.line}>
                    <td>{s.line}</td>
                    <td>{s.person.name}</td>
                    <td>{s.person.group ?? ''}</td>
                    <td>{s.person.gpa !== undefined ? number(s.person.gpa, 2) : ''}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </details>
      )}
    </>
  );
}

function Import({ close, done }: { close: () => void; done: () => void }) {
  const [file, set_file] = useState<{ name: string; text: string; encoding: string; columns: string[]; separator: string } | null>(null);
  const [chosen, set_chosen] = useState<Record<string, string>>({});
  const [given, set_given] = useState<RosterMap | null>(null);
  const [preview, set_preview] = useState<RosterReport | null>(null);
  const [job, set_job] = useState<Job | null>(null);
  const [result, set_result] = useState<RosterReport | null>(null);
  const [problem, set_problem] = useState('');
  const map = given ?? (file ? map_of(chosen, file.separator) : null);

  const take = async (input: HTMLInputElement): Promise<void> => {
    const picked = input.files?.[0];
    if (!picked) return;
    const { text, encoding } = decode(await picked.arrayBuffer());
    const { separator, columns } = header(text);
    set_file({ name: picked.name, text, encoding, columns, separator });
    set_chosen(guess(columns, fold));
    set_preview(null);
    set_result(null);
    set_problem('');
  };
  const take_map = async (input: HTMLInputElement): Promise<void> => {
    const picked = input.files?.[0];
    if (!picked) return;
    try {
      set_given(JSON.parse(await picked.text()) as RosterMap);
      set_problem('');
    } catch {
      set_problem(t('import-bad-map'));
    }
  };
  const look = async (): Promise<void> => {
    set_problem('');
    try {
      set_preview(await call<RosterReport>('roster.preview', { csv: file!.text, map }));
    } catch (error) {
      set_problem(words(error));
    }
  };
  const apply = async (): Promise<void> => {
    set_problem('');
    set_job({ state: 'queued' });
    try {
      set_result(await run_job<RosterReport>('roster.apply', { csv: file!.text, map }, set_job));
      done();
    } catch (error) {
      set_problem(words(error));
    }
    set_job(null);
  };

  return (
    <Dialog title={t('import')} close={close}>
      {result ? (
        <>
          <p role="status">
            <b>{t('import-done')}</b>
          </p>
          <Report report={result} applied />
          <button type="button" class="primary" onClick={close}>
            {t('close')}
          </button>
        </>
      ) : (
        <>
          <label class="field">
            <span>{t('import-file')}</span>
            <input type="file" accept=".csv,.txt,.tsv,text/csv,text/plain" onChange={(e) => void take(e.currentTarget)} />
          </label>
          {file && <p class="note">{t('import-read', { encoding: file.encoding, columns: file.columns.length })}</p>}
          {file && !given && (
            <fieldset class="mapping">
              <legend>{t('import-columns')}</legend>
              {fields.map((f) => (
                <label key={f.name} class="field inline">
                  <span>{t(`field-${f.name.replace('_', '-')}`)}</span>
                  <select value={chosen[f.name] ?? ''} onChange={(e) => (set_chosen({ ...chosen, [f.name]: e.currentTarget.value }), set_preview(null))}>
                    <option value="">{t('import-no-column')}</option>
                    {file.columns.map((c) => (
                      <option key={c} value={c}>
                        {c}
                      </option>
                    ))}
                  </select>
                </label>
              ))}
            </fieldset>
          )}
          {file && (
            <details>
              <summary>{t('import-map')}</summary>
              <label class="field">
                <span>{t('import-map-file')}</span>
                <input type="file" accept=".json,application/json" onChange={(e) => void take_map(e.currentTarget)} />
              </label>
            </details>
          )}
          <p class="problem" role="alert">
            {problem}
          </p>
          {preview && <Report report={preview} applied={false} />}
          {job ? (
            <div class="job" role="status">
              <progress max={1} value={job.progress ?? undefined} aria-label={t('import-running')} />
              <p class="note">{t('import-running')}</p>
            </div>
          ) : (
            file && (
              <div class="foot">
                <Act class={preview ? '' : 'primary'} do={look}>
                  {t('import-preview')}
                </Act>
                {preview && (
                  <Act class="primary" do={apply} disabled={preview.created + preview.updated === 0}>
                    {t('import-apply', { count: preview.created + preview.updated })}
                  </Act>
                )}
              </div>
            )
          )}
        </>
      )}
    </Dialog>
  );
}

export function People() {
  const loaded = useLoad(() => list_all<Person>('person', { index: 'by_name' }), []);
  const [search, set_search] = useState('');
  const [shown, set_shown] = useState(50);
  const [importing, set_importing] = useState(false);
  const [codes, set_codes] = useState<Code[] | null>(null);
  const all = records<Person>('person');
  const sorted = useMemo(() => [...all.values()].filter((p) => !p.data.erased).sort((a, b) => fold(a.data.name).localeCompare(fold(b.data.name))), [all]);
  const wanted = fold(search);
  const found = wanted ? sorted.filter((p) => fold([p.data.name, p.data.group, p.data.faculty, p.data.external_id].filter(Boolean).join(' ')).includes(wanted)) : sorted;
  const groups = [...new Set(found.map((p) => p.data.group).filter((g): g is string => !!g))];
  const invite = async (person: Envelope<Person>): Promise<void> => {
    const code = await attempt<Code>('person.invite', { person: person.id });
    if (code) set_codes([code]);
  };
  const invite_group = async (): Promise<void> => {
    const got = await attempt<{ items: Code[] }>('person.invite_many', { group: groups[0] });
    if (got) set_codes(got.items);
  };
  return (
    <>
      <Title>{t('nav-people')}</Title>
      {is_staff.value && (
        <div class="foot">
          <button type="button" class="primary" onClick={() => set_importing(true)}>
            {t('import')}
          </button>
          {wanted && groups.length === 1 && (
            <Act do={invite_group}>{t('invite-group', { group: groups[0]! })}</Act>
          )}
        </div>
      )}
      <label class="field">
        <span>{t('search-people')}</span>
        <input type="search" value={search} onInput={(e) => (set_search(e.currentTarget.value), set_shown(50))} />
      </label>
      <Loaded of={loaded} rows={8}>
        {() => (
          <>
            <p class="note" role="status">
              {t('people-found', { count: found.length })}
            </p>
            {sorted.length === 0 && (
              <Empty title={t('people-none')}>
                <p>{t('people-none-hint')}</p>
              </Empty>
            )}
            {sorted.length > 0 && found.length === 0 && <Empty title={t('nothing-found')} />}
            <ul class="rows">
              {found.slice(0, shown).map((p) => (
                <li key={p.id} class="row">
                  <Face name={p.data.name} />
                  <span>
                    {is_admin.value ? <a href={to('admin', 'person', p.id)}>{p.data.name}</a> : <b>{p.data.name}</b>}
                    <small>{[p.data.group, p.data.faculty, p.data.year !== undefined ? t('year', { year: p.data.year }) : '', (p.data.mentoring?.capacity ?? 0) > 0 ? t('places', { count: p.data.mentoring!.capacity! }) : ''].filter(Boolean).join(' · ')}</small>
                  </span>
                  {is_staff.value && (
                    <Act class="plain" do={() => invite(p)} label={t('invite-name', { name: p.data.name })}>
                      {t('invite')}
                    </Act>
                  )}
                </li>
              ))}
            </ul>
            {found.length > shown && (
              <button type="button" onClick={() => set_shown(shown + 100)}>
                {t('show-more', { count: found.length - shown })}
              </button>
            )}
          </>
        )}
      </Loaded>
      {importing && (
        <Import
          close={() => set_importing(false)}
          done={() => {
            toast.value = { text: t('import-done') };
            void list_all<Person>('person', { index: 'by_name' }).then((items) => keep_records(items));
          }}
        />
      )}
      {codes && <Codes codes={codes} close={() => set_codes(null)} />}
    </>
  );
}
