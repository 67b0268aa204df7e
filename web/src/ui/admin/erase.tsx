// Erasing a person. It is for good, so the dialog says what it reaches and what it does not, and wants a reason and the name typed.
import { useRef, useState } from 'preact/hooks';
import type { Envelope, Erased, Person } from '../../client/api';
import { attempt, call, toast, words } from '../../store/app';
import { fold, t } from '../../store/texts';
import { Act, Dialog, Icon } from '../kit';

const PATIENCE = 600_000; // it may look at every record, and at the whole log
const REASON_MOST = 120; // bytes that the server keeps

/** What the erasing reached, and the backup sets in which sealed data can still be read. */
function Outcome({ outcome, repeat, done }: { outcome: Erased; repeat: () => Promise<void>; done: () => void }) {
  const [gone, set_gone] = useState<string[]>([]);
  const missing = outcome.missing.filter((set) => !gone.includes(set));
  const forget = async (set: string): Promise<void> => {
    if ((await attempt('backup.forget', { set })) === undefined) return;
    toast.value = { text: t('erase-forgotten') };
    set_gone((had) => [...had, set]);
  };
  return (
    <>
      <p role="status">
        <Icon name="check" /> {t('erase-done', { count: outcome.sets })}
      </p>
      {missing.length > 0 && (
        <>
          <p class="warning">{t('erase-missing')}</p>
          <ul class="plain-list">
            {missing.map((set) => (
              <li key={set}>
                <code>{set}</code>
                <div class="foot">
                  <Act class="plain" label={`${t('erase-forget')}: ${set}`} do={() => forget(set)}>
                    {t('erase-forget')}
                  </Act>
                </div>
              </li>
            ))}
          </ul>
          <div class="foot">
            <Act do={repeat}>{t('try-again')}</Act>
          </div>
        </>
      )}
      <button type="button" class="primary" onClick={done}>
        {t('close')}
      </button>
    </>
  );
}

export function Erase({ person, close, done }: { person: Envelope<Person>; close: () => void; done: () => void }) {
  const again = person.data.erased !== undefined; // for sets that were out of reach; there is no name any more
  const name = person.data.name;
  const [reason, set_reason] = useState('');
  const [typed, set_typed] = useState('');
  const [problem, set_problem] = useState('');
  const [outcome, set_outcome] = useState<Erased | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const erase = async (): Promise<void> => {
    set_problem('');
    try {
      set_outcome(await call<Erased>('person.erase', { person: person.id, reason: reason.trim() }, PATIENCE));
    } catch (error) {
      set_problem(words(error));
    }
  };
  const submit = async (): Promise<void> => {
    if (!form.current!.reportValidity()) return;
    const field = (which: string): HTMLInputElement => form.current!.elements.namedItem(which) as HTMLInputElement;
    if (!reason.trim() || new TextEncoder().encode(reason.trim()).length > REASON_MOST) {
      set_problem(t('erase-reason-length'));
      field('reason').focus();
    } else if (!again && fold(typed) !== fold(name)) {
      set_problem(t('erase-name-wrong', { name }));
      field('name').focus();
    } else {
      await erase();
    }
  };
  return (
    <Dialog title={again ? t('erase-repeat') : t('erase-title', { name })} close={outcome ? done : close}>
      {outcome ? (
        <Outcome outcome={outcome} repeat={erase} done={done} />
      ) : (
        <form ref={form} class="erase" onSubmit={(e) => (e.preventDefault(), void submit())}>
          <h3>{t('erase-goes')}</h3>
          <ul class="facts">
            <li>{t('erase-goes-key')}</li>
            <li>{t('erase-goes-account')}</li>
            <li>{t('erase-goes-name')}</li>
          </ul>
          <h3>{t('erase-stays')}</h3>
          <ul class="facts">
            <li>{t('erase-stays-texts')}</li>
            <li>{t('erase-stays-log')}</li>
            <li>{t('erase-stays-copies')}</li>
          </ul>
          <label class="field">
            <span>{t('erase-reason')}</span>
            <input name="reason" required maxLength={REASON_MOST} autocomplete="off" value={reason} onInput={(e) => set_reason(e.currentTarget.value)} />
          </label>
          {!again && (
            <label class="field">
              <span>{t('erase-name', { name })}</span>
              <input name="name" required autocomplete="off" spellcheck={false} value={typed} onInput={(e) => set_typed(e.currentTarget.value)} />
            </label>
          )}
          <p class="problem" role="alert">
            {problem}
          </p>
          <div class="foot">
            <Act class="danger" type="submit" do={submit}>
              {t('erase-do')}
            </Act>
            <button type="button" onClick={close}>
              {t('not-now')}
            </button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
