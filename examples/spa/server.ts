import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

const { ISSUER = 'http://localhost:3000', CLIENT_ID = 'spa', PORT = '5173' } = process.env

/** The files of the app: a build tool would make them. */
const files: Record<string, [type: string, url: string]> = {
  '/': ['text/html', import.meta.resolve('./index.html')],
  '/app.js': ['text/javascript', import.meta.resolve('./app.js')],
  '/oauth4webapi.js': ['text/javascript', import.meta.resolve('oauth4webapi')]
}

createServer(async (request, response) => {
  const path = request.url?.split('?')[0] ?? ''
  const [type, url] = files[path] ?? []
  if (path === '/settings.json') {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ issuer: ISSUER, clientId: CLIENT_ID }))
  } else if (type !== undefined && url !== undefined) {
    response.setHeader('content-type', `${type}; charset=utf-8`)
    response.end(await readFile(new URL(url)))
  } else {
    response.writeHead(404).end()
  }
}).listen(Number(PORT), 'localhost', () => void process.stdout.write(`http://localhost:${PORT}\n`))
