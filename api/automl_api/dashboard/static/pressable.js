// Loaded last: now every button of the page has the script that it needs, and stops being grey.

document.documentElement.dataset.pressable = "";
