import { connect } from 'node:net'

/** RawAnswer is what came back on a connection, taken apart. */
export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** What came after the answer's Content-Length. */
  readonly rest: string
}

/** sendRaw writes bytes onto a connection of its own and resolves with all that came back until it was closed. */
export function sendRaw(port: number, ...chunks: readonly (string | Buffer)[]): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const received: Buffer[] = []
  socket.on('data', (chunk) => received.push(chunk))
  // A reset ends what is read as an end does.
  socket.on('error', () => {})
  socket.on('end', () => socket.end())
  socket.on('close', () => resolve(Buffer.concat(received).toString()))
  for (const chunk of chunks) socket.write(chunk)
  return promise
}

/** parseAnswer takes the first answer of a text apart; undefined when there is none. */
export function parseAnswer(text: string): RawAnswer | undefined {
  const [, status, head = '', rest = ''] =
    /^HTTP\/1\.1 (\d{3}) [^\r\n]+\r\n(.*?)\r\n\r\n(.*)$/s.exec(text) ?? []
  if (status === undefined) return undefined
  const headers = Object.fromEntries(
    head.split('\r\n').map((line) => {
      const [name = '', value = ''] = line.split(/: */s, 2)
      return [name.toLowerCase(), line.slice(name.length + 1).trim() || value]
    }),
  )
  const bytes = Buffer.from(rest)
  const length = Number(headers['content-length'])
  return {
    status: Number(status),
    headers,
    body: bytes.subarray(0, length).toString(),
    rest: bytes.subarray(length).toString(),
  }
}
