import t from 'tap'
import { ATTACKS } from '../../src/isolation/siege/attacks.ts'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { readSiegeOptions, type SiegeWish } from './siege-options.ts'

function wish(...args: readonly string[]): SiegeWish {
  const read = readSiegeOptions(args)
  if (typeof read === 'string') throw new Error(read)
  return read
}

t.test('without options every attack is made in every placement', async (t) => {
  const { placements, attacks, seconds, sizes, url, logLevel, lists } = wish()
  t.strictSame(placements, PLACEMENTS)
  t.strictSame(attacks, ATTACKS)
  t.strictSame(
    { seconds, sizes, url, logLevel, lists },
    {
      seconds: 3,
      sizes: { tables: 40_000, largeObjects: 60_000 },
      url: undefined,
      logLevel: 'silent',
      lists: false,
    },
  )
})

t.test('options choose placements, attacks, times and sizes', async (t) => {
  const { placements, attacks, seconds, sizes, url } = wish(
    ...['--placement', 'schema', '--placement', 'row', '--attack', 'sessions', '--seconds', '9'],
    ...['--tables', '10', '--large-objects', '20', '--url', 'postgres://postgres@127.0.0.1/postgres'],
  )
  t.strictSame(placements, ['row', 'schema'])
  t.strictSame(
    attacks.map(({ name }) => name),
    ['sessions'],
  )
  t.strictSame({ seconds, sizes }, { seconds: 9, sizes: { tables: 10, largeObjects: 20 } })
  t.equal(url, 'postgres://postgres@127.0.0.1/postgres')
})

t.test('what makes no sense is refused, with what would', async (t) => {
  for (const [args, message] of [
    [
      ['--placement', 'cloud'],
      'There is no placement "cloud"; a placement is one of row, role, schema, database.',
    ],
    [['--attack', 'prayer'], 'There is no attack "prayer"; --list names them.'],
    [
      ['--placement', 'row', '--attack', 'many-tables'],
      'None of these attacks is possible in placement row; --list says where each is.',
    ],
    [['--seconds', '0'], '--seconds must be a whole number from 1 to 3600.'],
    [['--seconds', '1.5'], '--seconds must be a whole number from 1 to 3600.'],
    [['--tables', 'many'], '--tables must be a whole number from 1 to 1000000.'],
    [['--large-objects', '10000001'], '--large-objects must be a whole number from 1 to 10000000.'],
    [['--url', 'mysql://localhost'], '--url must be postgres://user:password@host:port/database.'],
    [['--url', 'postgres://:::'], '--url must be postgres://user:password@host:port/database.'],
    [
      ['--log-level', 'loud'],
      '--log-level must be one of fatal, error, warn, info, debug, trace, silent, not "loud".',
    ],
    [['--mutate'], "Unknown option '--mutate'"],
  ] as const) {
    t.equal(readSiegeOptions(args), message, args.join(' '))
  }
})

t.test('each attack has a name of its own, and a sentence', async (t) => {
  const names = ATTACKS.map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
  for (const { name, about, placements } of ATTACKS) {
    t.ok(/^[a-z0-9-]+$/.test(name), name)
    t.ok(/^[A-Z].*[^.]$/.test(about), about)
    t.ok(placements.length > 0, name)
  }
})
