// Caches the shell, so that the client opens without a network; what is large and for few (LATER) when it is first asked for. Data is never cached here: it comes over the WebSocket.
/* global SHELL, LATER, VERSION */
const cache_name = 'hamroh-' + VERSION;

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(cache_name).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name !== cache_name).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

// The page itself from the network first, so that a new version is seen; what has a hash in its name from the cache first.
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== location.origin || !(SHELL.includes(url.pathname) || LATER.includes(url.pathname))) return;
  const from_cache = () => caches.match(url.pathname);
  const from_network = () =>
    fetch(event.request).then((answer) => {
      if (answer.ok && LATER.includes(url.pathname)) {
        const copy = answer.clone();
        event.waitUntil(caches.open(cache_name).then((cache) => cache.put(url.pathname, copy)));
      }
      return answer;
    });
  event.respondWith(
    url.pathname === '/'
      ? fetch(event.request).catch(from_cache)
      : from_cache().then((found) => found ?? from_network()),
  );
});
