// A small made-up school for tests that match and pair: persons with accounts, a programme.
const hours = [17, 18, 19, 41, 42, 65, 66, 138, 139, 162, 163];

// Makes a person (and, when login is given, an account for it); gives the person's id.
export async function person(place, data, login) {
  const made = await place.call('person.create', { kind: 'student', year: 3, faculty: 'maths', languages: ['uz'], availability: hours, ...data });
  const id = made.id ?? made.person;
  if (login) await place.account(login, ['student'], id);
  return id;
}

export const mentor = (place, name, capacity, more = {}, login) =>
  person(place, { name, gpa: 4.6, strengths: ['calculus'], mentoring: { capacity, status: 'active' }, ...more }, login);
export const mentee = (place, name, more = {}, login) => person(place, { name, gpa: 2.1, year: 1, needs: ['calculus'], ...more }, login);

export async function programme(call, title = 'Autumn', more = {}) {
  const made = await call('programme.create', {
    title,
    term: '2026-autumn',
    starts: Date.now() - 86400000,
    ends: Date.now() + 90 * 86400000,
    ...more,
  });
  return made.id ?? made.programme;
}
