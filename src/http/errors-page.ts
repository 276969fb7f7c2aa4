import { ERRORS } from '../errors.ts'

/** errorsPage is the HTML page to which the `type` of every problem leads. */
export function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, title }]) =>
      `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${title}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Lessor: errors</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
td, th { padding: .25rem 1rem .25rem 0; text-align: left }
tr:target { background: #ff9 }
</style>
</head>
<body>
<h1>Errors</h1>
<p>Every error is answered as <code>application/problem+json</code> (RFC 9457) with one of these codes.</p>
<table>
<thead><tr><th>Code</th><th>Status</th><th>Meaning</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>
</body>
</html>
`
}
