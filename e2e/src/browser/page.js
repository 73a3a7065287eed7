// Finding things in a page as a person would name them. What is missing or ambiguous is thrown, with what is there.

const words = (text) => (text ?? '').replace(/\s+/g, ' ').trim();
const visible = (element) => element.checkVisibility({ visibilityProperty: true });
const start = (element) => element.outerHTML.replace(/\s+/g, ' ').slice(0, 120);

/** Only a modal dialog can be used while it is open. */
const usable = () => [...document.querySelectorAll('dialog:modal')].at(-1) ?? document;
const all = (css) => [...usable().querySelectorAll(css)].filter(visible);

/** The text without what is only for the eye, and without the fields that stand in it. */
const spoken = (element) => {
  const copy = element.cloneNode(true);
  copy.querySelectorAll('[aria-hidden=true], input, select, textarea').forEach((part) => part.remove());
  return words(copy.textContent);
};
const labelled = (element) => {
  const ids = (element.getAttribute('aria-labelledby') ?? '').split(/\s+/).filter(Boolean);
  return words(ids.map((id) => document.getElementById(id)?.textContent).join(' '));
};
const names = (element) => {
  const told = element.matches('input[type=submit], input[type=button], input[type=reset]') ? element.value : '';
  const read = [element.innerText, spoken(element), element.getAttribute('aria-label'), labelled(element), told, element.title];
  return new Set(read.map(words).filter(Boolean));
};

const one = (elements, what, others) => {
  if (elements.length === 1) return elements[0];
  if (elements.length > 1) throw new Error(`${elements.length} are ${what}: ${elements.slice(0, 5).map(start).join(' | ')}`);
  throw new Error(`nothing is ${what}; there are: ${others().slice(0, 40).join(' | ')}`);
};
const enabled = (element) => {
  if (element.matches(':disabled, [aria-disabled=true]')) throw new Error(`it is disabled: ${start(element)}`);
  return element;
};

const exists = (css) => document.querySelector(css) !== null;
const found = (css) => {
  const first = all(css)[0];
  if (first) return enabled(first);
  throw new Error(exists(css) ? 'it is there, but not visible' : 'it is not there');
};
const text = (css) => words(all(css)[0]?.innerText);
const shown = () => words(document.body?.innerText);
const shows = (wanted) => shown().includes(words(wanted));

const CLICKABLE = 'button, a[href], summary, input[type=submit], input[type=button], input[type=reset], [role=button],'
  + ' [role=link], [role=tab], [role=switch], [role=checkbox], [role=radio], [role=menuitem], [role=option]';
const called = (name) => {
  const has = (element) => names(element).has(words(name));
  const clickable = all(CLICKABLE);
  const matching = clickable.filter(has);
  const candidates = matching.length > 0 ? matching : all('label').filter(has);
  return enabled(one(candidates, `called ${JSON.stringify(name)}`, () => clickable.map((each) => [...names(each)][0])));
};

const FIELDS = 'input:not([type=hidden]), textarea, select';
const labels = (element) => {
  const texts = [...(element.labels ?? [])].map(spoken);
  const all = [...texts, words(element.getAttribute('aria-label')), labelled(element)];
  return all.map((name) => name.replace(/\s*[:：*]$/, '')).filter(Boolean);
};
const field = (wanted) => {
  const fields = all(FIELDS);
  const matching = fields.filter((each) => labels(each).includes(words(wanted)));
  if (matching.length > 0) return enabled(one(matching, `labelled ${JSON.stringify(wanted)}`));
  let selected = [];
  try {
    selected = all(wanted).filter((each) => each.matches(FIELDS));
  } catch {
    // The words of a label need not be a selector.
  }
  const others = () => fields.map((each) => labels(each)[0] ?? start(each));
  return enabled(one(selected, `a field of ${JSON.stringify(wanted)}`, others));
};

const told = (element, ...events) => events.forEach((event) => element.dispatchEvent(new Event(event, { bubbles: true })));
/** Says `typed` when what is selected now is to be typed over. */
const fill = (wanted, value) => {
  const element = field(wanted);
  if (element.readOnly) throw new Error(`it can only be read: ${start(element)}`);
  element.scrollIntoView({ block: 'center' });
  element.focus();
  if (element.matches('[type=date], [type=time], [type=datetime-local], [type=month], [type=week], [type=color], [type=range]')) {
    element.value = value;
    told(element, 'input', 'change');
    return 'set';
  }
  element.select();
  if (value === '') document.execCommand('delete');
  return 'typed';
};
const select = (wanted, option) => {
  const element = field(wanted);
  const options = [...element.options];
  const fitting = options.filter((each) => words(each.label) === words(option) || each.value === option);
  const index = options.indexOf(one(fitting, `an option ${JSON.stringify(option)}`, () => options.map((each) => each.label)));
  element.focus();
  element.selectedIndex = index;
  told(element, 'input', 'change');
};

/** What makes the page wider than the viewport: the outermost elements, without those that scroll or are cut off inside one. */
const sticksOut = () => {
  if (!document.querySelector('meta[name=viewport][content*="width=device-width"]')) {
    return ['the page has no meta viewport with width=device-width: a phone would lay it out 980 px wide'];
  }
  const page = document.scrollingElement;
  const room = page.clientWidth;
  if (page.scrollWidth <= room) return [];
  const end = (element) => Math.ceil(element.getBoundingClientRect().right + window.scrollX);
  const out = (element) => visible(element) && element.getBoundingClientRect().width > 0 && end(element) > room;
  const kept = (element) => {
    for (let parent = element.parentElement; parent && parent !== document.body; parent = parent.parentElement) {
      if (getComputedStyle(parent).overflowX !== 'visible' || out(parent)) return true;
    }
    return false;
  };
  const first = [...document.body.querySelectorAll('*')].filter((element) => out(element) && !kept(element)).slice(0, 5);
  const each = first.map((element) => `${Math.ceil(element.getBoundingClientRect().width)} px wide, to ${end(element)}: ${start(element)}`);
  return [`the page is ${page.scrollWidth} px wide in a viewport of ${room} px`, ...each];
};
