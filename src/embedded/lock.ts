import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EmbeddedError, EmbeddedInUse, hasCode } from './errors.ts'

/** A socket's address holds 104 bytes on macOS and 108 on Linux, with the byte that ends it. */
const MAX_PATH_BYTES = 103
const PREFIX = 'lock-'
const GREETING_TIMEOUT_MS = 2_000
const ATTEMPTS = 40

/** Lock is the right to run the PostgreSQL of one folder. The kernel releases it when the process dies. */
export interface Lock {
  release(): Promise<void>
}

/** Peer is another process that holds the lock (`owner`) or tries to take it (`candidate`). */
interface Peer {
  readonly state: 'owner' | 'candidate'
  readonly pid: number | undefined
}

/**
 * acquireLock takes the lock of a folder. Everyone who wants it publishes a listening socket under
 * a random name in the folder, and only then looks for others: of any two, one at least sees the
 * other. A socket that refuses connections belongs to a dead process and is removed, which cannot
 * hit a live one since names are never used twice. Who sees a candidate steps back and tries again
 * after a random time; who sees an owner gives up.
 * @throws EmbeddedInUse when a live process holds it
 */
export async function acquireLock(directory: string): Promise<Lock> {
  const handle = await open(directory)
  try {
    for (let attempt = 1; ; attempt++) {
      const claim = await Claim.publish(directory, handle)
      try {
        const peers = await findPeers(directory, handle, claim.name)
        if (peers.length === 0) {
          claim.own()
          return claim
        }
        const owner = peers.find((peer) => peer.state === 'owner')
        if (owner !== undefined || attempt === ATTEMPTS) throw new EmbeddedInUse(directory, owner?.pid)
      } finally {
        if (!claim.owned) await claim.release()
      }
      await sleep(20 + Math.random() * 100)
    }
  } finally {
    await handle.close()
  }
}

class Claim implements Lock {
  readonly name: string
  readonly #directory: string
  readonly #server: Server
  #state: Peer['state'] = 'candidate'

  private constructor(directory: string, name: string) {
    this.name = name
    this.#directory = directory
    this.#server = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.end(`${this.#state} ${process.pid}\n`)
    })
    this.#server.unref()
  }

  /** publish listens before the socket shows under its name, so that it never shows and refuses. */
  static async publish(directory: string, handle: FileHandle): Promise<Claim> {
    const id = randomBytes(6).toString('hex')
    const claim = new Claim(directory, `${PREFIX}${id}`)
    const draft = `draft-${id}`
    claim.#server.listen(address(directory, handle, draft))
    await once(claim.#server, 'listening')
    await rename(join(directory, draft), join(directory, claim.name))
    return claim
  }

  get owned(): boolean {
    return this.#state === 'owner'
  }

  own(): void {
    this.#state = 'owner'
  }

  async release(): Promise<void> {
    await rm(join(this.#directory, this.name), { force: true })
    // Not awaited: it would wait for a peer that hangs.
    this.#server.close()
  }
}

async function findPeers(directory: string, handle: FileHandle, own: string): Promise<Peer[]> {
  const names = (await readdir(directory)).filter((name) => name.startsWith(PREFIX) && name !== own)
  const peers = await Promise.all(
    names.map(async (name) => {
      const peer = await ask(address(directory, handle, name))
      if (peer === undefined) await rm(join(directory, name), { force: true })
      return peer
    }),
  )
  return peers.filter((peer) => peer !== undefined)
}

/** ask resolves with who listens there, or undefined when nobody does. Silence counts as an owner. */
function ask(path: string): Promise<Peer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    let greeting = ''
    socket.setEncoding('utf8').setTimeout(GREETING_TIMEOUT_MS, () => socket.destroy())
    socket.on('data', (text) => {
      greeting += text
    })
    socket.on('error', (error) => {
      if (hasCode(error, 'ECONNREFUSED', 'ENOENT')) resolve(undefined)
      // It stepped back before it answered.
      else if (hasCode(error, 'ECONNRESET', 'EPIPE')) resolve({ state: 'candidate', pid: undefined })
      else reject(error)
    })
    socket.on('close', () => {
      const [state, pid] = greeting.trim().split(' ')
      resolve({
        state: state === 'candidate' ? 'candidate' : 'owner',
        pid: pid === undefined ? pid : Number(pid),
      })
    })
  })
}

/** address is a path to the socket that is short enough for the kernel, however deep the folder lies. */
function address(directory: string, handle: FileHandle, name: string): string {
  const path = join(directory, name)
  const paths = [path, relative(process.cwd(), path)]
  if (process.platform === 'linux') paths.push(`/proc/self/fd/${handle.fd}/${name}`)
  const short = paths.find((each) => Buffer.byteLength(each) <= MAX_PATH_BYTES)
  if (short === undefined) {
    throw new EmbeddedError(`The path ${directory} is too long for a socket. Set STATE_DIR to a shorter one.`)
  }
  return short
}
