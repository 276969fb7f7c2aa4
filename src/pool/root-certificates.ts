import { X509Certificate } from 'node:crypto'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'

/** SYSTEM stands for the root certificates of the operating system, as in libpq's `sslrootcert=system`. */
const SYSTEM = 'system'

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/

/**
 * RootCertificates is what a server's certificate is checked against in the place of Node's own list. What is
 * parsed from it is kept, since a list of a cloud has a hundred certificates and each connection needs it.
 */
export class RootCertificates {
  /** The certificates in PEM, or `system`. */
  readonly text: string
  /** The file that they were read from, if any. */
  readonly path: string | undefined
  #context: SecureContext | undefined

  private constructor(text: string, path?: string) {
    this.text = text
    this.path = path
  }

  /**
   * parse takes the certificates out of PEM text, and leaves the comments.
   * @throws Error that says what is wrong, as the end of a sentence, and quotes nothing
   */
  static parse(text: string, path?: string): RootCertificates {
    if (PRIVATE_KEY.test(text)) throw new Error('holds a private key, and must hold certificates alone')
    const certificates = (text.match(CERTIFICATE) ?? []).map(canonical)
    if (certificates.length === 0)
      throw new Error('holds no certificate in PEM (-----BEGIN CERTIFICATE-----)')
    return new RootCertificates(certificates.join(''), path)
  }

  /** stored is what `text` was; not checked again. */
  static stored(text: string): RootCertificates {
    return new RootCertificates(text)
  }

  /** system is the operating system's list. @throws Error, as `parse`, when this machine has none */
  static system(): RootCertificates {
    const system = new RootCertificates(SYSTEM)
    if (system.#list().length === 0) throw new Error(NONE)
    return system
  }

  get isSystem(): boolean {
    return this.text === SYSTEM
  }

  /** context is made at first use. @throws Error when they are the system's and this machine has none */
  get context(): SecureContext {
    if (this.#context === undefined) {
      const ca = this.#list()
      if (ca.length === 0) throw new Error(`sslrootcert=system ${NONE}.`)
      this.#context = createSecureContext({ ca })
    }
    return this.#context
  }

  #list(): string[] {
    return this.isSystem ? getCACertificates(SYSTEM) : [this.text]
  }
}

const NONE = 'finds no root certificates on this machine: install its package ca-certificates, or name a file'

function canonical(block: string): string {
  try {
    return new X509Certificate(block).toString()
  } catch {
    throw new Error('holds a certificate that cannot be read')
  }
}
