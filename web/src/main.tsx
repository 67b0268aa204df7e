// Starts the client: language first, so that nothing flashes untranslated, then the connection.
import { render } from 'preact';
import { App } from './ui/app';
import { link } from './store/app';
import { first_language, use_language } from './store/texts';

await use_language(first_language());
render(<App />, document.getElementById('app')!);
link.start();
if ('serviceWorker' in navigator && isSecureContext) navigator.serviceWorker.register('/sw.js').catch(() => undefined);
