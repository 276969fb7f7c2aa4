import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** TestCertificate is a self-signed certificate for localhost with an encrypted key. */
export interface TestCertificate {
  readonly certFile: string
  readonly keyFile: string
  readonly passphrase: string
  /** PEM, for clients to trust. */
  readonly certificate: string
}

/** makeCertificate makes one in a folder of the test's own. */
export function makeCertificate(directory: string): TestCertificate {
  const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  const passphrase = 'correct horse battery staple'
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-days', '2', '-subj', '/CN=localhost']
  const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const output = ['-passout', `pass:${passphrase}`, '-keyout', keyFile, '-out', certFile]
  execFileSync('openssl', [...request, ...names, ...output], { stdio: 'ignore' })
  return { certFile, keyFile, passphrase, certificate: readFileSync(certFile, 'utf8') }
}
