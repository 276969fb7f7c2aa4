import { readFile } from 'node:fs/promises'

/** INSPECT is the argument for Node that lets {@link heapBytes} look in; only this machine can. */
export const INSPECT = '--inspect=127.0.0.1:0'

const ADDRESS = /ws:\/\/127\.0\.0\.1:\d+\/[\w-]+/

interface HeapUsage {
  readonly usedSize: number
  readonly backingStorageSize?: number
}

/**
 * heapBytes collects the garbage of a process that was started with {@link INSPECT} and resolves with what is left:
 * JavaScript's heap and the buffers that it owns. `log` is where the process wrote the inspector's address.
 */
export async function heapBytes(log: string): Promise<number> {
  const [address] = ADDRESS.exec(await readFile(log, 'utf8')) ?? []
  if (address === undefined) throw new Error('the service did not say where its inspector is')
  const socket = new WebSocket(address)
  const replies = new Map<number, PromiseWithResolvers<unknown>>()
  const fail = () => {
    for (const reply of replies.values()) reply.reject(new Error('the inspector went away'))
  }
  socket.addEventListener('close', fail)
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown }
    if (id !== undefined) replies.get(id)?.resolve(result)
  })
  const opened = Promise.withResolvers<void>()
  socket.addEventListener('open', () => opened.resolve())
  socket.addEventListener('error', () => opened.reject(new Error('the inspector cannot be reached')))
  await opened.promise
  const call = async (method: string) => {
    const id = replies.size + 1
    const reply = Promise.withResolvers<unknown>()
    replies.set(id, reply)
    socket.send(JSON.stringify({ id, method }))
    return reply.promise
  }
  try {
    // Twice: finalizers of the first one let go of more.
    await call('HeapProfiler.collectGarbage')
    await call('HeapProfiler.collectGarbage')
    const { usedSize, backingStorageSize = 0 } = (await call('Runtime.getHeapUsage')) as HeapUsage
    return usedSize + backingStorageSize
  } finally {
    socket.close()
  }
}
