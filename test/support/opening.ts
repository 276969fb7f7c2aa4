/** Opening is what a client's first packet says that its connection is for. */
export type Opening =
  | { readonly kind: 'session'; readonly user: string; readonly application: string }
  | { readonly kind: 'cancel' }
  /** Not a whole packet of these two, e.g. a request for TLS. */
  | { readonly kind: 'other' }

// PostgreSQL manual, "Message Formats": StartupMessage and CancelRequest.
const HEAD_BYTES = 8
const PROTOCOL_3 = 3
const CANCEL_REQUEST = 80_877_102

/** readOpening reads a client's first packet. */
export function readOpening(packet: Buffer): Opening {
  if (packet.length < HEAD_BYTES || packet.readUInt32BE(0) !== packet.length) return { kind: 'other' }
  const code = packet.readUInt32BE(4)
  if (code === CANCEL_REQUEST) return { kind: 'cancel' }
  if (code >>> 16 !== PROTOCOL_3) return { kind: 'other' }
  const words = packet.toString('utf8', HEAD_BYTES).split('\0')
  const parameters = new Map<string, string>()
  for (let i = 0; i + 1 < words.length; i += 2) parameters.set(words[i] ?? '', words[i + 1] ?? '')
  return {
    kind: 'session',
    user: parameters.get('user') ?? '',
    application: parameters.get('application_name') ?? '',
  }
}
