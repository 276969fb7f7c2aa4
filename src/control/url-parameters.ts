/**
 * PARAMETERS is every parameter that libpq knows (PostgreSQL 18 manual, "Parameter Key Words") and that a URL may
 * not have freely, with the values that say what happens anyway, and what to do instead of any other. Those that
 * database-url.ts reads are not here.
 */
const PARAMETERS: Readonly<
  Record<string, { readonly values?: readonly string[]; readonly instead: string }>
> = {
  channel_binding: {
    values: ['disable', 'prefer'],
    instead:
      'leave it out, or write prefer: the login is without channel binding; sslmode=verify-full proves the server',
  },
  target_session_attrs: {
    values: ['read-write', 'primary', 'any'],
    instead: 'leave it out: the host that takes writes is looked for, whatever the order',
  },
  load_balance_hosts: {
    values: ['disable'],
    instead: 'leave it out: hosts are tried in the order in which they are named',
  },
  gssencmode: { values: ['disable', 'prefer'], instead: 'leave it out and encrypt by sslmode=verify-full' },
  sslnegotiation: {
    values: ['postgres'],
    instead: 'leave it out: TLS is asked for as by servers of all versions',
  },
  sslcompression: { values: ['0'], instead: 'leave it out: nothing is compressed' },
  sslsni: { values: ['1'], instead: "leave it out: the host's name is always sent" },
  sslcertmode: { values: ['disable', 'allow'], instead: 'leave it out: the login is by password' },
  ssl_min_protocol_version: {
    values: ['TLSv1.2'],
    instead: 'leave it out and set ssl_min_protocol_version on the server; TLS 1.2 is the least here',
  },
  ssl_max_protocol_version: { values: ['TLSv1.3'], instead: 'leave it out' },
  min_protocol_version: { values: ['3.0'], instead: 'leave it out: protocol 3.0 is spoken' },
  max_protocol_version: { values: ['3.0'], instead: 'leave it out: protocol 3.0 is spoken' },
  client_encoding: { values: ['utf8', 'UTF8', 'utf-8', 'UTF-8'], instead: 'leave it out: it is always UTF8' },
  keepalives: { values: ['1'], instead: 'leave it out: TCP keepalive is always on' },
  keepalives_idle: { instead: 'set net.ipv4.tcp_keepalive_time of the machine' },
  keepalives_interval: { instead: 'set net.ipv4.tcp_keepalive_intvl of the machine' },
  keepalives_count: { instead: 'set net.ipv4.tcp_keepalive_probes of the machine' },
  tcp_user_timeout: {
    instead: 'leave it out: a connection that does not answer is given up by STATEMENT_TIMEOUT_MS',
  },
  connect_timeout: { instead: 'set POOL_CONNECT_TIMEOUT_MS' },
  application_name: {
    instead: 'leave it out: the connections are called lessor, lessor admin and lessor control',
  },
  fallback_application_name: {
    instead: 'leave it out: the connections are called lessor, lessor admin and lessor control',
  },
  options: {
    instead: 'set it for the role or the database: alter role ... set ..., alter database ... set ...',
  },
  hostaddr: { instead: "write the address in the host's place" },
  passfile: { instead: 'write the password into the URL, and keep the URL in a file by DATABASE_URL_FILE' },
  service: { instead: 'write host, database and user into the URL' },
  servicefile: { instead: 'write host, database and user into the URL' },
  sslcert: { instead: 'log in by password: client certificates are not used' },
  sslkey: { instead: 'log in by password: client certificates are not used' },
  sslpassword: { instead: 'log in by password: client certificates are not used' },
  sslkeylogfile: { instead: 'leave it out' },
  sslcrl: {
    instead: 'leave it out: revocation lists are not read; name an authority of your own by sslrootcert',
  },
  sslcrldir: {
    instead: 'leave it out: revocation lists are not read; name an authority of your own by sslrootcert',
  },
  requiressl: { instead: 'write sslmode=require' },
  requirepeer: { instead: 'protect the socket directory by the rights of the file system' },
  require_auth: {
    instead: 'leave it out and set the method in pg_hba.conf of the server, such as scram-sha-256',
  },
  replication: { instead: 'leave it out: connections are for SQL' },
  krbsrvname: { instead: 'log in by password: GSSAPI is not used' },
  gsslib: { instead: 'log in by password: GSSAPI is not used' },
  gssdelegation: { instead: 'log in by password: GSSAPI is not used' },
  scram_client_key: { instead: 'log in by password' },
  scram_server_key: { instead: 'log in by password' },
  oauth_issuer: { instead: 'log in by password: OAuth is not used' },
  oauth_client_id: { instead: 'log in by password: OAuth is not used' },
  oauth_client_secret: { instead: 'log in by password: OAuth is not used' },
  oauth_scope: { instead: 'log in by password: OAuth is not used' },
}

/**
 * checkParameter takes a parameter that says what happens anyway.
 * @throws Error that names the parameter, and says what would be right
 */
export function checkParameter(name: string, value: string): void {
  const rule = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined
  if (rule === undefined)
    throw new Error(`The database URL must not have the parameter "${name}": leave it out`)
  const { values = [], instead } = rule
  if (values.includes(value)) return
  const what = values.length === 0 ? '' : ` with another value than ${values.join(', ')}`
  throw new Error(`The database URL must not have the parameter "${name}"${what}: ${instead}`)
}
