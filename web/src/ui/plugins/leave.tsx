// Asks before one leaves what is not deployed yet. Addresses are hashes, whose change cannot be forbidden: it is taken back before the
// rest of the client hears of it (route.ts), and done again when the answer is yes.
import { useEffect, useRef, useState } from 'preact/hooks';
import { guard } from '../../store/route';
import { t } from '../../store/texts';
import { Act, Dialog } from '../kit';

export function Leave({ dirty, forget }: { dirty: () => boolean; forget: () => Promise<void> }) {
  const [wanted, set_wanted] = useState<string | null>(null);
  const going = useRef(false);
  useEffect(() => {
    const here = location.hash;
    guard.stays = () => {
      if (going.current || !dirty() || location.hash === here) return false;
      set_wanted(location.hash);
      history.replaceState(null, '', here);
      return true;
    };
    const closed = (event: BeforeUnloadEvent): void => {
      if (dirty()) event.preventDefault();
    };
    addEventListener('beforeunload', closed);
    return () => {
      guard.stays = undefined;
      removeEventListener('beforeunload', closed);
    };
  }, []);
  if (wanted === null) return null;
  const leave = (): void => {
    going.current = true;
    location.hash = wanted;
  };
  return (
    <Dialog title={t('plugin-leave')} close={() => set_wanted(null)}>
      <p>{t('plugin-leave-note')}</p>
      <div class="foot">
        <button type="button" class="primary" onClick={leave}>
          {t('plugin-leave-keep')}
        </button>
        <button type="button" onClick={() => set_wanted(null)}>
          {t('plugin-leave-stay')}
        </button>
        <Act class="plain" do={() => forget().then(leave)}>
          {t('plugin-leave-forget')}
        </Act>
      </div>
    </Dialog>
  );
}
