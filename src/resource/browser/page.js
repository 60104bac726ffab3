// The page that `GET /` shows to browsers: it lists and edits documents, and shows its requests.
// Every URL is relative, so that the page also works below a path.

// ---- Elements

const find = (id) => document.getElementById(id)

/** Makes an element from its name and classes, properties or attributes, and children. */
function make(kind, ...children) {
  const [name, ...classes] = kind.split('.')
  const element = document.createElement(name)
  element.className = classes.join(' ')
  const properties = children[0]?.constructor === Object ? children.shift() : {}
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value
    else if (value !== undefined) element.setAttribute(key, value)
  }
  element.append(...children.flat().filter(Boolean))
  return element
}

/** Replaces the children of an element. The focus stays at its id. */
function show(parent, ...children) {
  const { id, selectionStart, selectionEnd } = document.activeElement ?? {}
  parent.replaceChildren(...children.flat().filter(Boolean))
  const focused = id && find(id)
  if (!focused || focused === document.activeElement || !parent.contains(focused)) return
  focused.focus({ preventScroll: true })
  if (selectionEnd != null) focused.setSelectionRange(selectionStart, selectionEnd)
}

// ---- JSON as text
//
// `JSON.parse` turns 1.0 into 1 and shortens long numbers. A value is therefore kept as its text,
// and sent as it was read unless it is edited. `JSON.parse` only checks it.

/** The texts of the members of an object, or of the elements of an array. */
function split(text) {
  const parts = []
  let depth = 0, start = 0, inString = false
  for (let at = 0; at < text.length; at++) {
    const c = text[at]
    if (inString) {
      if (c === '\\') at++
      else if (c === '"') inString = false
    } else if (c === '"') inString = true
    else if (c === '{' || c === '[') {
      if (++depth === 1) start = at + 1
    } else if (c === '}' || c === ']' || c === ',') {
      if (depth === 1) {
        parts.push(text.slice(start, at).trim())
        start = at + 1
      }
      if (c !== ',') depth--
    }
  }
  return parts.filter(Boolean)
}

/** A text without the white space between its values; the server does not keep it. */
const tight = (text) => text.replace(/"(\\.|[^"\\])*"|\s+/g, (found) => (found[0] === '"' ? found : ''))

/** The members of an object: each name, the text of the name, and the text of the value. */
function membersOf(text) {
  return split(text).map((part) => {
    const key = /^"(\\.|[^"\\])*"/.exec(part)[0]
    return { name: JSON.parse(key), key, value: tight(part.slice(key.length)).slice(1) }
  })
}

/** The members of an object that was typed. */
function typedMembers(text) {
  try {
    JSON.parse(text)
  } catch (error) {
    throw Error(`This is not JSON: ${error.message}`)
  }
  if (!text.trim().startsWith('{')) throw Error('A document is a JSON object, between { and }')
  return unique(membersOf(text))
}

function unique(members) {
  const names = new Set()
  for (const { name } of members) {
    if (names.has(name)) throw Error(`The member ${name} is there twice`)
    names.add(name)
  }
  return members
}

/** The members of a form, checked. */
function checkedMembers(members) {
  for (const [index, { name, value }] of members.entries()) {
    try {
      JSON.parse(value)
    } catch {
      find(`member-${index}`)?.focus()
      throw Error(`The value of ${name} is not JSON; a text has " around it`)
    }
  }
  return unique(members.map((member) => ({ ...member, value: tight(member.value) })))
}

const compact = (members) => `{${members.map(({ key, value }) => `${key}:${value}`)}}`
const spread = (members) => members.length ? `{\n${members.map(({ key, value }) => `  ${key}: ${value}`).join(',\n')}\n}` : '{}'
const newMember = (name) => ({ name, key: JSON.stringify(name), value: '""' })

/** Whether the members are the same, in any order. */
function same(some, others) {
  const sorted = (members) => `${members.map((member) => compact([member])).sort()}`
  return sorted(some) === sorted(others)
}

/** Whether a value can be edited as text: a text area would change a carriage return. */
function isPlain(value) {
  try {
    return value.startsWith('"') && !JSON.parse(value).includes('\r')
  } catch {
    return false
  }
}

const readable = (value) => (isPlain(value) ? JSON.parse(value) : value)

// ---- Requests

const store = {
  get: (key) => { try { return sessionStorage.getItem(key) } catch { return null } },
  set: (key, value) => { try { sessionStorage.setItem(key, value) } catch { /* It stays in memory. */ } },
}
const place = new URL('.', location).pathname
let token = store.get(`${place} token`)
let tokenAsked = null

/** Sends a request. The status is 0 if the server cannot be reached. Returns null if it was aborted. */
async function ask(method, path, fields = {}, content, signal) {
  for (;;) {
    const used = token
    const response = await attempt(method, path, fields, content, signal)
    if (response?.status !== 401) return response
    if (token === used) await askToken(used)
  }
}

async function attempt(method, path, fields, content, signal) {
  if (content) fields['Content-Type'] = 'application/json'
  const headers = { Accept: 'application/json', ...fields }
  if (token) headers.Authorization = `Bearer ${token}`
  const entry = logRequest(method, new URL(path, location), fields, content)
  try {
    const fetched = await fetch(path, { method, headers, body: content, signal, cache: 'no-store', priority: signal ? 'low' : 'high' })
    const field = (name) => fetched.headers.get(name)
    const response = { status: fetched.status, reason: fetched.statusText, field, tag: field('ETag'), text: await fetched.text() }
    entry.answered(response)
    tellState(response.status < 500)
    return response
  } catch {
    entry.failed(signal?.aborted)
    if (signal?.aborted) return null
    tellState(false)
    return { status: 0, field: () => null, tag: null, text: '' }
  }
}

function tellState(reached) {
  const text = reached ? 'Live' : 'The server cannot be reached; trying again'
  if (find('state').textContent === text) return
  find('state').textContent = text
  find('state').className = reached ? '' : 'gone'
}

/** Asks for the token, once for all requests. */
function askToken(wrong) {
  tokenAsked ??= new Promise((resolve) => {
    const dialog = find('token'), input = find('token-text')
    find('token-message').textContent = wrong ? 'The server does not take this token.' : ''
    input.value = ''
    // Escape closes a dialog.
    dialog.onclose = () => tokenAsked && dialog.showModal()
    dialog.onsubmit = (event) => {
      event.preventDefault()
      // No other character can be sent.
      token = input.value.replace(/[^\w.~+/=-]/g, '')
      store.set(`${place} token`, token)
      tokenAsked = null
      dialog.close()
      resolve()
    }
    dialog.showModal()
  })
  return tokenAsked
}

/** The message of a problem. A proxy may send another content type. */
function problem({ status, reason, text }) {
  if (!status) return 'The server cannot be reached.'
  try {
    const { message, detail } = JSON.parse(text)
    return [message, detail].filter(Boolean).join(': ')
  } catch {
    return `${status} ${reason}`
  }
}

const MEANING = {
  'PUT 200': 'If-Match named the latest version. ETag names the new one.',
  304: 'Nothing new: the tag names the latest version.',
  412: 'The condition is false: nothing is overwritten. ETag names the latest version.',
}

/** Shows a request in the panel, and then its response. */
function logRequest(method, url, fields, content) {
  const title = `${method} ${url.pathname}${url.search}`
  const conditions = Object.entries(fields).flatMap(([name, value]) =>
    ['\n', make(name.startsWith('If-') ? 'span.condition' : 'span.quiet', `${name}: ${value}`)])
  const short = content && content.length > 300 ? `${content.slice(0, 300)}…` : content
  const response = make('pre', fields.Prefer?.startsWith('wait') ? 'waits for a change …' : '…')
  const curl = make('details', make('summary', { 'aria-label': `curl for ${title}` }, 'curl'), make('pre', curlOf(method, url, fields, content)))
  const item = make('li', make('pre', make('b', title), ' HTTP/1.1', conditions, short && `\n\n${short}`), response, curl)
  const log = find('log')
  log.prepend(item)
  while (log.children.length > 15) log.lastChild.remove()
  const finish = (kind, ...children) => {
    item.className = `${kind} ${method}`
    show(response, ...children)
    // The same request with the same response is shown once.
    const told = item.textContent
    for (const other of [...log.children]) if (other !== item && other.textContent === told) other.remove()
  }
  return {
    answered: ({ status, reason, tag, field }) => finish(`s${Math.floor(status / 100)}`,
      'HTTP/1.1 ', make('span.status', `${status} ${reason}`),
      tag && `\nETag: ${tag}`, field('Location') && `\nLocation: ${field('Location')}`,
      make('span.note', `\n${MEANING[status] ?? MEANING[`${method} ${status}`] ?? ''}`)),
    failed: (aborted) => aborted ? item.remove() : finish('s5', make('span.status', 'no response')),
  }
}

function curlOf(method, url, fields, content) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`
  const words = ['curl -i']
  if (method !== 'GET') words.push(`-X ${method}`)
  for (const [name, value] of Object.entries(fields)) words.push(`-H ${quoted(`${name}: ${value}`)}`)
  if (token) words.push('-H "Authorization: Bearer $TOKEN"')
  if (content) words.push(`--data-raw ${quoted(content)}`)
  return [...words, quoted(url.href)].join(' ')
}

// ---- Waiting for changes
//
// Browsers open six connections to a server. A tab waits on two, for the list and for the open
// document, on none while it is hidden, and not for long while another has the focus.

/** Reports each new response to GET, until the returned function is called. */
function watch(path, tag, arrived) {
  let stopped = false, request = null
  const hide = () => document.hidden && request?.abort()
  document.addEventListener('visibilitychange', hide)
  const run = async () => {
    while (!stopped) {
      if (document.hidden) await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }))
      if (stopped || document.hidden) continue
      request = new AbortController()
      const fields = tag ? { 'If-None-Match': tag, Prefer: `wait=${document.hasFocus() ? 25 : 5}` } : {}
      const response = await ask('GET', path, fields, undefined, request.signal)
      if (stopped || !response) continue
      if (response.status !== 304) {
        tag = response.status === 200 ? response.tag : null
        arrived(response)
      }
      // If the server has not waited, the loop pauses.
      if (!(tag && response.status === 200) && !response.field('Preference-Applied')) await new Promise((resolve) => setTimeout(resolve, 2000))
    }
    document.removeEventListener('visibilitychange', hide)
  }
  run()
  return () => { stopped = true; request?.abort() }
}

// ---- Drafts: what is not saved yet

const drafts = new Map(Object.entries(JSON.parse(store.get(`${place} drafts`) ?? '{}')))

function setDraft(path, draft) {
  const known = drafts.has(path)
  if (draft) drafts.set(path, draft)
  else drafts.delete(path)
  store.set(`${place} drafts`, JSON.stringify(Object.fromEntries(drafts)))
  if (known !== drafts.has(path)) showList()
}

// ---- The list

let list = null

const pathOf = (collection, id) => `${collection}/${encodeURIComponent(id)}`

/** The document in a representation: the server's own members apart from the others. */
function documentOf(collection, text, tag) {
  const members = membersOf(text)
  const [idName, dateName] = collection === 'persons' ? ['person_id', 'change_date'] : [members[2].name, '_change_date']
  const value = (name) => JSON.parse(members.find((member) => member.name === name).value)
  return { tag, id: value(idName), date: value(dateName), text, own: members.filter(({ name }) => ![idName, dateName, '_etag'].includes(name)) }
}

function openList(collection) {
  if (list?.collection === collection) return
  list?.stop()
  list = { collection, after: '', documents: null, stop: () => {}, message: 'Reading …' }
  find('list-title').textContent = collection
  find('new').href = `#/${collection}/`
  find('new').setAttribute('aria-label', `New document in ${collection}`)
  watchList()
}

/** Watches the page of the list that begins after an id. */
function watchList() {
  const { collection, after } = list
  list.stop()
  list.stop = watch(`${collection}?limit=50${after}`, null, (response) => {
    if (response.status === 200) {
      const before = list.documents
      list.documents = split(response.text).map((text) => documentOf(collection, text))
      for (const it of list.documents) it.fresh = before && !before.some(({ text }) => text === it.text)
      list.next = /after=([^>&]*)>; rel="next"/.exec(response.field('Link'))?.[1]
      list.message = list.documents.length ? '' : 'There is no document here yet.'
    } else if (response.status) list.message = problem(response)
    showList()
    for (const it of list.documents ?? []) it.fresh = false
  })
  showList()
}

function turnPage(after) {
  Object.assign(list, { after, documents: null })
  watchList()
}

/** Titles and names stand first in the summary of a document, then other texts. */
const rank = ({ name, value }) => /title|name/i.test(name) * 2 + isPlain(value)

function showList() {
  if (!list) return
  const { collection, documents, message, after, next } = list
  find('list-message').textContent = message
  show(find('documents'), (documents ?? []).map((it) => {
    const path = pathOf(collection, it.id)
    const current = open?.path === path ? 'page' : undefined
    const summary = [...it.own].sort((a, b) => rank(b) - rank(a)).map(({ value }) => readable(value)).join(' · ')
    return make('li', { className: it.fresh ? 'fresh' : '' }, make('a', { id: `open-${it.id}`, href: `#/${path}`, 'aria-current': current },
      make('b', it.id), make('span.note', summary.slice(0, 200)),
      drafts.has(path) && make('span.draft', 'not saved yet')))
  }))
  find('pages').hidden = !after && !next
  find('first').disabled = !after
  find('next').disabled = !next
}

// ---- The open document
//
// base: the version that was read; null for a new document
// mine: the members as they are typed; text: the same while they are edited as JSON
// theirs: a version that another client has saved meanwhile; gone: the document was deleted
// choices: what was chosen for each member while versions are compared
// told: the message above the document

let open = null

function openDocument(collection, id) {
  const path = pathOf(collection, id)
  closeDocument()
  const draft = drafts.get(path)
  open = { collection, id, path, base: null, mine: null, text: null, newId: '', theirs: null, gone: false, choices: null, fresh: [], stop: () => {}, ...draft }
  if (draft) open.told = ['warn', 'What you typed is not saved yet.']
  if (!id) open.mine ??= [newMember(collection === 'persons' ? 'person_name' : 'title')]
  document.body.classList.add('open')
  showDocument()
  find('title').focus({ preventScroll: true })
  scrollTo(0, 0)
  if (id) watchDocument()
}

function closeDocument() {
  open?.stop()
  open = null
  document.body.classList.remove('open')
  show(find('body'))
}

/** Waits for the next version. Ignores a response that was under way during a write. */
function watchDocument() {
  const it = open
  it.stop()
  it.stop = watch(it.path, it.gone ? null : (it.theirs ?? it.base)?.tag, (response) => arrived(it, response))
}

const copy = (members) => members.map((member) => ({ ...member }))

/** Whether something is typed that is not saved. */
function isDirty({ base, mine, text, id, newId }) {
  if (!mine) return false
  if (!id) return newId || text !== null || mine.some(({ value }) => value !== '""')
  return text !== null ? text !== spread(base.own) : compact(mine) !== compact(base.own)
}

function keepDraft() {
  const { path, base, mine, text, newId, told } = open
  setDraft(path, isDirty(open) ? { base, mine, text, newId } : null)
  if (told?.[0] !== 'good') return
  open.told = null
  showNotice()
}

/** Shows the latest version, unless something is typed. */
function arrived(it, response) {
  const isTyped = isDirty(it) && !it.choices
  if (response.status === 200) {
    const version = documentOf(it.collection, response.text, response.tag)
    it.gone = false
    if (it.base?.tag === version.tag) it.theirs = null
    else if (!it.base || !isDirty(it)) takeOver(it, version)
    else meet(it, version)
  } else if (it.gone) return
  else if (response.status === 404) Object.assign(it, { gone: true, theirs: null, choices: null, told: null })
  else if (!it.base) it.told = ['bad', problem(response)]
  if (isTyped) showNotice()
  else showDocument()
}

const differing = (members, others) => members.filter(({ name, value }) => !others?.some((other) => other.name === name && other.value === value)).map(({ name }) => name)

/** Shows a version that another client has saved; nothing is typed. */
function takeOver(it, version) {
  if (it.told?.[0] !== 'bad') it.told = it.base && ['good', 'Somebody else has just saved it. You see the latest version.']
  it.fresh = it.base ? differing(version.own, it.base.own) : []
  settle(it, version)
}

/** Makes a version the one that is edited. */
function settle(it, version) {
  const text = it.text === null ? null : spread(version.own)
  Object.assign(it, { base: version, mine: copy(version.own), text, theirs: null, gone: false, choices: null })
  setDraft(it.path, null)
}

/** Keeps a version of another client beside what is typed. */
function meet(it, version) {
  for (const name of differing(version.own, it.theirs?.own)) it.choices?.delete(name)
  Object.assign(it, { theirs: version, gone: false })
}

function showDocument() {
  document.title = open ? `${open.id || 'New'} – ifmatch` : 'ifmatch'
  const { collection, id, base, mine, choices } = open ?? {}
  show(find('head'), open ? [
    make('a.back', { id: 'back', href: `#/${collection}` }, `Back to ${collection}`),
    make('h2', { id: 'title', tabIndex: -1 }, id ? `${collection}/${id}` : `New document in ${collection}`),
    base && make('p.note', 'Version ', make('code', base.tag), `, saved ${base.date.slice(0, 19).replace('T', ' ')} UTC`),
  ] : [
    make('h2', 'Open a document, or create one'),
    make('p', 'Change one document in two windows: the second save does not overwrite the first. You see both versions, and choose.'),
  ])
  showNotice()
  show(find('body'), mine && (choices ? comparison() : editor()))
  if (open) open.fresh = []
}

const showNotice = () => show(find('notice'), open && notice())

/** The message above the document, with what can be done about it. */
function notice() {
  const box = (kind, text, action) => make(`div.told.${kind}`, make('p', text), action && make('div.bar', action))
  const boxes = open.told ? [box(...open.told)] : []
  if (open.gone) {
    const text = open.base ? 'Somebody else has deleted this document. What you see is only in this tab.' : 'There is no document with this id.'
    boxes.push(box('warn', text, open.base && button('again', 'Create it again', () => find('editor').requestSubmit(), 'first')))
  }
  if (open.theirs && !open.choices) {
    boxes.push(box('warn', 'Somebody else has just saved it. What you typed is kept.', button('compare', 'Compare the versions', compare, 'first')))
  }
  return boxes
}

const button = (id, text, onclick, className = '') => make('button', { id, type: 'button', onclick, className }, text)

// ---- The editor

function editor() {
  const { collection, id, mine, text, newId } = open
  const isPerson = collection === 'persons'
  const mode = (id, name, act, pressed) => make('button', { id, type: 'button', onclick: () => guarded(act), 'aria-pressed': `${pressed}` }, name)
  return make('form', { id: 'editor', onsubmit: submit, noValidate: true },
    make('div.bar', { role: 'group', 'aria-label': 'Edit as' }, mode('as-form', 'Form', editForm, text === null), mode('as-json', 'JSON', editJson, text !== null)),
    !id && make('div.member', make('label', { htmlFor: 'new-id' }, isPerson ? 'Id' : 'Id (or the server makes one)'),
      make('input', { id: 'new-id', value: newId, autocomplete: 'off', oninput: ({ target }) => { open.newId = target.value; keepDraft() } })),
    text === null ? mine.map(field) : jsonField(text),
    text === null && !isPerson && adder(),
    make('div.bar',
      make('button.first', { id: 'save' }, id ? 'Save' : 'Create'),
      button('discard', 'Discard what I typed', discard),
      id && !open.gone && button('delete-it', 'Delete', remove, 'danger')))
}

function jsonField(text) {
  return make('div.member.json', make('label', { htmlFor: 'json' }, 'The document as JSON'),
    make('textarea', { id: 'json', value: text, rows: 12, spellcheck: false, oninput: ({ target }) => { open.text = target.value; keepDraft() } }))
}

/** A text is edited as it is, any other value as JSON. */
function field(member, index) {
  const { name } = member
  const isText = isPlain(member.value)
  const id = `member-${index}`
  const value = readable(member.value)
  const known = open.base?.own.find((other) => other.name === name)?.value
  const oninput = ({ target }) => {
    // What is typed back to what it was keeps the text in which it was read.
    if (!isText) member.value = target.value
    else member.value = known && readable(known) === target.value ? known : JSON.stringify(target.value)
    keepDraft()
  }
  const remove = button(`remove-${index}`, 'Remove', () => edit(open.mine.filter((other) => other !== member)))
  remove.setAttribute('aria-label', `Remove ${name}`)
  return make('div', { className: `member ${isText ? '' : 'json'} ${open.fresh.includes(name) ? 'fresh' : ''}` },
    make('div.bar', make('label', { htmlFor: id }, name, !isText && make('span.badge', ' JSON')), open.collection !== 'persons' && remove),
    make('textarea', { id, value, rows: Math.min(value.split('\n').length, 8), oninput }))
}

function adder() {
  const add = () => {
    const name = find('add-name').value
    if (!name) return find('add-name').focus()
    if (!open.mine.some((member) => member.name === name)) edit([...open.mine, newMember(name)])
    find(`member-${open.mine.findIndex((member) => member.name === name)}`).focus()
    find('add-name').value = ''
  }
  const onkeydown = (event) => { if (event.key === 'Enter') { event.preventDefault(); add() } }
  return make('div.member', make('label', { htmlFor: 'add-name' }, 'New member'),
    make('div.adder', make('input', { id: 'add-name', value: find('add-name')?.value ?? '', onkeydown }), button('add', 'Add member', add)))
}

const edit = (members) => guarded(() => { open.mine = members })

function editJson() {
  open.text ??= spread(open.mine)
}

function editForm() {
  if (open.text !== null) [open.mine, open.text] = [typedMembers(open.text), null]
}

/** Does something, or shows why it fails. */
function guarded(act) {
  open.told = null
  try {
    act()
    keepDraft()
  } catch (error) {
    open.told = ['bad', error.message]
  }
  showDocument()
}

const typed = () => (open.text === null ? checkedMembers(open.mine) : typedMembers(open.text))

function discard() {
  const { path, base, collection, theirs, gone } = open
  setDraft(path, null)
  if (!base) return openDocument(collection, '')
  guarded(() => {
    settle(open, theirs ?? base)
    open.gone = gone
  })
}

// ---- A collision

function compare() {
  guarded(() => {
    open.mine = typed()
    open.choices = new Map()
    open.told = ['warn', 'Somebody else was faster. Nothing is overwritten, and nothing that you typed is lost. Choose for each member, and save again.']
  })
  find('title').focus()
}

/** The members of the three versions by name, and what is chosen of them. */
function rows() {
  const versions = [open.base.own, open.theirs.own, open.mine]
  const names = new Set(versions.flat().map(({ name }) => name))
  const all = [...names].map((name) => {
    const [base, theirs, mine] = versions.map((members) => members.find((member) => member.name === name))
    const [b, t, m] = [base, theirs, mine].map((member) => member?.value)
    const both = b !== t && b !== m && t !== m
    const chosen = open.choices.get(name) ?? (both ? undefined : b !== m ? 'mine' : 'theirs')
    const told = both ? 'both changed it' : b === t ? 'you changed it' : b === m ? 'they changed it' : 'both made the same change'
    return { name, base, theirs, mine, both, changed: b !== t || b !== m, chosen, told }
  })
  return all.sort((a, b) => b.both - a.both || b.changed - a.changed)
}

function comparison() {
  const all = rows()
  const equal = all.filter((row) => !row.changed)
  return make('form', { id: 'collision', onsubmit: submit, noValidate: true },
    make('p.note', 'Their version is ', make('code', open.theirs.tag), '. Saving again sends this tag in If-Match.'),
    all.filter((row) => row.changed).map(choice),
    equal.length > 0 && make('p.note', `The same in all three: ${equal.map(({ name }) => name).join(', ')}`),
    make('div.bar',
      make('button.first', { id: 'save' }, 'Save what is chosen'),
      button('further', 'Edit what is chosen', editFurther),
      button('drop', 'Take all of theirs', () => guarded(() => settle(open, open.theirs)))))
}

function choice(row, index) {
  const card = (who, title) => {
    const id = `choice-${index}-${who}`
    return make('label.choice', { htmlFor: id },
      make('input', { type: 'radio', name: `choice-${index}`, id, checked: row.chosen === who, onchange: () => open.choices.set(row.name, who) }),
      make('span.who', title), make('span.value', shown(row[who], who === 'base' ? null : row.base)))
  }
  return make('fieldset', { id: `row-${index}`, className: row.both ? 'both' : '' },
    make('legend', row.name, ' ', make('span.badge', row.told)),
    make('div.three', card('base', 'You began with'), card('theirs', 'Theirs'), card('mine', 'Yours')))
}

/** A value; the words that differ from the base are marked. */
function shown(member, base) {
  if (!member) return make('span.absent', 'not there')
  const text = readable(member.value)
  if (base === null || member.value === base?.value) return text || make('span.absent', 'empty')
  const words = (value) => value.match(/\s+|\S+/g) ?? []
  const now = words(text), old = base ? words(readable(base.value)) : []
  const most = Math.min(now.length, old.length)
  let start = 0, end = 0
  while (start < most && now[start] === old[start]) start++
  while (end < most - start && now.at(-1 - end) === old.at(-1 - end)) end++
  const part = (from, to) => now.slice(from, to).join('')
  return [part(0, start), make('mark', part(start, now.length - end) || '⌫'), part(now.length - end)]
}

/** The members that are chosen. */
function chosenMembers() {
  const all = rows()
  const undecided = all.findIndex((row) => !row.chosen)
  if (undecided >= 0) {
    find(`choice-${undecided}-base`).focus()
    throw Error(`Both changed ${all[undecided].name}: choose one of the three first.`)
  }
  return copy(all.map((row) => row[row.chosen]).filter(Boolean))
}

function editFurther() {
  guarded(() => {
    const mine = chosenMembers()
    const text = open.text === null ? null : spread(mine)
    Object.assign(open, { base: open.theirs, theirs: null, mine, text, choices: null })
  })
}

// ---- Saving

function submit(event) {
  event.preventDefault()
  guarded(() => {
    const { id, choices, theirs, base, newId, gone } = open
    const members = choices ? chosenMembers() : typed()
    if (!id) create(members, newId)
    else if (gone) save(members, { 'If-None-Match': '*' })
    else save(members, { 'If-Match': choices ? theirs.tag : base.tag })
  })
}

/** Sends the members on the condition in `fields`. */
async function save(members, fields) {
  const it = open
  if (it.busy) return
  it.busy = true
  const before = compact(it.mine) + it.text
  const content = it.text !== null && !it.choices ? it.text : compact(members)
  const sent = ask('PUT', it.path, { ...fields, Prefer: 'return=representation' }, content)
  it.stop()
  const response = await sent
  it.busy = false
  const version = [200, 201, 412].includes(response.status) && response.text.startsWith('{') && response.field('Content-Location') && documentOf(it.collection, response.text, response.tag)
  if (version && (response.status !== 412 || same(version.own, members))) {
    // What was typed meanwhile is kept.
    if (compact(it.mine) + it.text !== before) Object.assign(it, { base: version, theirs: null, gone: false, choices: null })
    else settle(it, version)
    it.told = ['good', 'Saved.']
  } else if (version) {
    meet(it, version)
    if (it.choices) it.told = ['warn', 'Somebody else was faster again. Look at the choices.']
    else if (it === open) compare()
  } else if (response.status === 404) Object.assign(it, { gone: true, theirs: null, choices: null, told: ['bad', 'It could not be saved.'] })
  else it.told = ['bad', `Not saved. ${problem(response)} What you typed is kept here.`]
  if (it !== open) return
  showDocument()
  watchDocument()
}

async function create(members, newId) {
  const it = open
  const { collection } = it
  const [method, path, fields] = newId ? ['PUT', pathOf(collection, newId), { 'If-None-Match': '*' }] : ['POST', collection, {}]
  const response = await ask(method, path, fields, it.text ?? compact(members))
  if (response.status === 201) {
    setDraft(it.path, null)
    const made = newId || decodeURIComponent(response.field('Location').split('/').at(-1))
    if (it === open) location.hash = `#/${pathOf(collection, made)}`
    return
  }
  const reason = response.status === 412 ? 'There is a document with this id already. Nothing was overwritten.' : problem(response)
  it.told = ['bad', `Not created. ${reason} What you typed is kept here.`]
  if (it === open) showDocument()
}

async function remove() {
  const it = open
  if (!confirm(`Delete ${it.id}? If its latest version is not the one you have seen, the server deletes nothing.`)) return
  const sent = ask('DELETE', it.path, { 'If-Match': it.base.tag })
  it.stop()
  const response = await sent
  if (response.status === 204) {
    setDraft(it.path, null)
    if (it === open) location.hash = `#/${it.collection}`
    return
  }
  const changed = 'Not deleted: somebody else has just saved it.'
  it.told = ['bad', response.status === 412 ? changed : `Not deleted. ${problem(response)}`]
  if (it !== open) return
  showDocument()
  watchDocument()
}

// ---- The start

/** Opens what the address names: #/notes, #/notes/1, or #/notes/ for a new one. */
function route() {
  if (location.hash && !location.hash.startsWith('#/')) return
  const [name, id] = location.hash.slice(2).split('/')
  const collection = collections.includes(name) ? name : collections[0]
  for (const link of find('collections').children) {
    if (link.textContent === collection) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  openList(collection)
  if (id === undefined) closeDocument()
  else openDocument(collection, decodeURIComponent(id))
  if (!open) showDocument()
  showList()
}

let collections = []

function start() {
  showDocument()
  const stop = watch('./', null, (response) => {
    if (response.status !== 200) return find('list-message').replaceChildren(problem(response))
    stop()
    collections = Object.keys(JSON.parse(response.text).links)
    show(find('collections'), collections.map((name) => make('a', { href: `#/${name}` }, name)))
    addEventListener('hashchange', route)
    route()
  })
}

find('first').onclick = () => turnPage('')
find('next').onclick = () => turnPage(`&after=${list.next}`)
addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() !== 's' || !(event.ctrlKey || event.metaKey)) return
  event.preventDefault()
  find('save')?.form.requestSubmit()
})
// What is typed outlives a reload, but not the tab.
addEventListener('beforeunload', (event) => drafts.size && event.preventDefault())
start()
